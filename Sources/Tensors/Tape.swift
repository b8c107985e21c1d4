/// A weight of a model. It accumulates its gradient over the batches of an optimizer step if it is trained, and costs
/// no memory for one if it is frozen.
public final class Parameter {
  /// The name that the checkpoint has for it.
  public let name: String
  /// The elements, in the type that they are stored in. A trained parameter is float32 and changed in place.
  public var value: Tensor
  /// Whether it gets a gradient.
  public var isTrainable: Bool
  /// What has been accumulated; `nil` before the first contribution.
  public var gradient: Tensor?

  /// A parameter, frozen unless said otherwise.
  public init(name: String, value: Tensor, isTrainable: Bool = false) {
    self.name = name
    self.value = value
    self.isTrainable = isTrainable
  }

  /// The gradient to add to, zero at first.
  func gradient(on backend: any Backend) -> Tensor {
    if let gradient { return gradient }
    let zero = backend.empty(value.shape, .float32)
    backend.clear(zero)
    gradient = zero
    return zero
  }

  /// The product that adds `terms` to the gradient; the first one overwrites instead of clearing.
  func gradientProduct(_ terms: [ProductTerm], on backend: any Backend) -> Product {
    let isFirst = gradient == nil
    let target = gradient ?? backend.empty(value.shape, .float32)
    gradient = target
    return Product(terms, into: Columns(target), accumulate: !isFirst)
  }
}

/// A tensor in a computation: a value, and while a tape runs backwards its gradient.
public final class Variable {
  /// The elements.
  public let value: Tensor
  /// Where the gradient gathers. Operations keep hold of this and not of the variable, so that a value that nobody
  /// needs for a gradient is released at once.
  let slot: GradientSlot
  /// Computes the value again, to the same bits, where it follows by a cheap pass over memory from what is kept anyway.
  private let recomputed: (() -> Tensor)?

  /// A variable; one without history, unless an operation makes it.
  ///
  /// - Parameter recomputed: computes the value again, to the same bits.
  public init(_ value: Tensor, requiresGradient: Bool = false, recomputed: (() -> Tensor)? = nil) {
    self.value = value
    self.recomputed = recomputed
    slot = GradientSlot(requiresGradient: requiresGradient)
  }

  /// Gives the value again for a backward pass; nobody has to keep one that can be computed anew.
  package var recompute: () -> Tensor { recomputed ?? { [value] in value } }

  /// Whether anything trained is upstream.
  public var requiresGradient: Bool { slot.requiresGradient }

  /// What has gathered, while a tape runs backwards.
  package var gradient: Tensor? {
    get { slot.gradient }
    set { slot.gradient = newValue }
  }
}

/// The gradient of a variable, apart from its value.
final class GradientSlot {
  let requiresGradient: Bool
  var gradient: Tensor?

  init(requiresGradient: Bool) { self.requiresGradient = requiresGradient }

  /// The gradient, which the slot then forgets: an operation takes its output's gradient once.
  func take() -> Tensor? {
    defer { gradient = nil }
    return gradient
  }
}

/// Records operations and runs their gradients in the opposite order.
///
/// Each operation stands in a file of `Operations/`, forward and backward together. What it keeps for the backward
/// pass lives in a closure here and is released as soon as that closure has run.
public final class Tape {
  /// Where the work is done.
  public let backend: any Backend
  /// Whether gradients will be asked for.
  public let isRecording: Bool
  /// What products are computed in.
  public let precision: Precision
  private var steps: [() -> Void] = []
  private var dropoutKey: UInt64
  /// Whether dropout applies: in training, also where a stretch is run without being recorded.
  var appliesDropout: Bool

  /// A tape; `dropoutSeed` decides every mask drawn on it, unless `appliesDropout` is false.
  public init(
    on backend: any Backend, isRecording: Bool, dropoutSeed: UInt64 = 0, precision: Precision = .float32,
    appliesDropout: Bool = true
  ) {
    self.backend = backend
    self.isRecording = isRecording
    self.precision = precision
    dropoutKey = dropoutSeed &* 0xD134_2543_DE82_EF95
    self.appliesDropout = isRecording && appliesDropout
  }

  /// Adds the backward half of an operation whose output requires a gradient.
  func record(_ step: @escaping () -> Void) {
    if isRecording { steps.append(step) }
  }

  /// A key for a dropout mask that no other operation on this tape has.
  func nextDropoutKey() -> UInt64 {
    dropoutKey &+= 0x9E37_79B9_7F4A_7C15
    // Masks count on from their key by the same constant: unmixed, each would be its predecessor, shifted by one.
    var mixed = (dropoutKey ^ (dropoutKey >> 33)) &* 0xFF51_AFD7_ED55_8CCD
    mixed = (mixed ^ (mixed >> 33)) &* 0xC4CE_B9FE_1A85_EC53
    return mixed ^ (mixed >> 33)
  }

  /// The key that the next operation would get, so that a repeated stretch draws the same masks.
  var dropoutState: UInt64 {
    get { dropoutKey }
    set { dropoutKey = newValue }
  }

  /// Runs all gradients, from the last operation to the first, and forgets them.
  public func backward() {
    while let step = steps.popLast() { step() }
  }

  /// Adds `gradient` to what has gathered. The tensor may be shared with other slots: it is copied before it would be
  /// changed.
  func accumulate(_ gradient: Tensor, into slot: GradientSlot) {
    guard slot.requiresGradient else { return }
    guard var present = slot.take() else {
      slot.gradient = gradient
      return
    }
    if !present.isUniquelyOwned() { present = backend.scaled(present, 1) }
    backend.add(gradient, scale: 1, into: present)
    slot.gradient = present
  }
}
