/// A weight of a model. A trainable parameter accumulates its gradient over the batches of an optimizer step; a frozen
/// one never allocates one.
public final class Parameter {
  /// The tensor's name in checkpoints.
  public let name: String
  /// The weight in the type it is stored in. A trainable parameter is float32 and updated in place.
  public var value: Tensor {
    get {
      switch content {
      case .tensor(let tensor): tensor
      case .rows(let rows, let whole): whole.value.rows(rows)
      }
    }
    set { content = .tensor(newValue) }
  }
  private var content: Content
  /// Whether the backward pass computes its gradient.
  public var isTrainable: Bool
  /// Whether `value` replaced the one in the model's file.
  public var isReplaced = false
  /// Replaces rows of `value`, which then must not be trainable; `nil` for none.
  public var replacement: RowReplacement?
  /// The accumulated gradient, float32 and of the value's shape; `nil` before the first contribution.
  public var gradient: Tensor?

  /// Creates a parameter without a gradient, frozen by default.
  public init(name: String, value: Tensor, isTrainable: Bool = false) {
    self.name = name
    content = .tensor(value)
    self.isTrainable = isTrainable
  }

  /// Some rows of another parameter, for a layer that has only these. Their gradient is added to that parameter's.
  public init(_ rows: Range<Int>, of whole: Parameter) {
    name = whole.name
    content = .rows(rows, of: whole)
    isTrainable = whole.isTrainable
  }

  private enum Content {
    case tensor(Tensor)
    case rows(Range<Int>, of: Parameter)
  }

  /// The gradient to add to; zeros if nothing has been accumulated.
  func gradient(on backend: any Backend) -> Tensor {
    if case .rows(let rows, let whole) = content { return whole.gradient(on: backend).rows(rows) }
    if let gradient { return gradient }
    let zero = backend.empty(value.shape, .float32)
    backend.clear(zero)
    gradient = zero
    return zero
  }

  /// The product that adds `terms` to the gradient.
  func gradientProduct(_ terms: [ProductTerm], on backend: any Backend) -> Product {
    let target = gradientTarget(on: backend)
    return Product(terms, into: target.into, accumulate: target.accumulate)
  }

  /// Where products add to the gradient. The first one overwrites, which saves clearing it.
  func gradientTarget(on backend: any Backend) -> Product.Target {
    if case .rows = content { return (Columns(gradient(on: backend)), true) }
    let isFirst = gradient == nil
    let target = gradient ?? backend.empty(value.shape, .float32)
    gradient = target
    return (Columns(target), !isFirst)
  }
}

/// An intermediate result of a forward pass: a value, and during the backward pass its gradient.
public final class Variable {
  /// The result of the forward pass.
  public var value: Tensor {
    switch content {
    case .computed(let value): return value
    case .deferred(let compute):
      let value = compute()
      content = .computed(value)
      return value
    }
  }
  private var content: Content
  /// Accumulates the gradient. Backward closures capture the slot, not the variable, so a value that no gradient needs
  /// is released immediately.
  let slot: GradientSlot
  /// Recomputes the value with the same bits, if that takes only a cheap pass over tensors that are kept anyway.
  private let recomputed: (() -> Tensor)?

  /// Creates a variable that no operation has recorded, such as an input.
  ///
  /// - Parameter recomputed: recomputes the value with the same bits, so that the backward pass needn't keep it.
  public init(_ value: Tensor, requiresGradient: Bool = false, recomputed: (() -> Tensor)? = nil) {
    content = .computed(value)
    self.recomputed = recomputed
    slot = GradientSlot(requiresGradient: requiresGradient)
  }

  /// Creates a variable whose value `compute` computes when something reads it first.
  init(requiresGradient: Bool, deferred compute: @escaping () -> Tensor) {
    content = .deferred(compute)
    recomputed = nil
    slot = GradientSlot(requiresGradient: requiresGradient)
  }

  private enum Content {
    case computed(Tensor)
    case deferred(() -> Tensor)
  }

  /// Whether there is a value already; if not, reading it computes it.
  package var isComputed: Bool {
    if case .computed = content { true } else { false }
  }

  /// Returns the value in the backward pass: recomputed if possible, otherwise kept.
  package var recompute: () -> Tensor { recomputed ?? { [value] in value } }

  /// Whether the value depends on a trainable parameter, so that the backward pass must compute its gradient.
  public var requiresGradient: Bool { slot.requiresGradient }

  /// The gradient accumulated so far in the backward pass.
  package var gradient: Tensor? {
    get { slot.gradient }
    set { slot.gradient = newValue }
  }
}

/// The gradient of a variable, which can outlive its value.
final class GradientSlot {
  let requiresGradient: Bool
  var gradient: Tensor?

  init(requiresGradient: Bool) { self.requiresGradient = requiresGradient }

  /// Returns the gradient and clears the slot: an operation needs its output's gradient only once.
  func take() -> Tensor? {
    defer { gradient = nil }
    return gradient
  }
}

/// Records the operations of a forward pass and runs their gradients in reverse order (reverse-mode differentiation).
///
/// Each operation has a file in `Operations/`, forward and backward together. Whatever it keeps for the backward pass
/// is captured by a closure on the tape and released once that closure has run.
public final class Tape {
  /// The backend that computes all operations.
  public let backend: any Backend
  /// Whether there will be a backward pass. If not, operations keep nothing.
  public let isRecording: Bool
  /// The type that the operands of matrix products are rounded to.
  public let precision: Precision
  private var steps: [() -> Void] = []
  private var dropoutKey: UInt64
  /// Whether dropout applies: in training, including the unrecorded forward pass of a checkpointed layer.
  var appliesDropout: Bool
  /// Whether this tape computes again what another one has computed: a checkpointed layer in the backward pass. Linear
  /// layers then compute their outputs when these are read: nothing reads those of a layer's last ones.
  var isRecomputing = false

  /// Creates an empty tape. All dropout masks derive from `dropoutSeed`; there are none if `appliesDropout` is false.
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

  /// Records the backward pass of an operation whose output requires a gradient.
  func record(_ step: @escaping () -> Void) {
    if isRecording { steps.append(step) }
  }

  /// Returns a key for a dropout mask, different for each operation on this tape.
  func nextDropoutKey() -> UInt64 {
    dropoutKey &+= 0x9E37_79B9_7F4A_7C15
    // The kernels advance from their key by the same constant. Without mixing, each mask would be the previous one,
    // shifted by one element.
    var mixed = (dropoutKey ^ (dropoutKey >> 33)) &* 0xFF51_AFD7_ED55_8CCD
    mixed = (mixed ^ (mixed >> 33)) &* 0xC4CE_B9FE_1A85_EC53
    return mixed ^ (mixed >> 33)
  }

  /// The state that the next key derives from. Restoring it makes a recomputed layer draw the same masks.
  var dropoutState: UInt64 {
    get { dropoutKey }
    set { dropoutKey = newValue }
  }

  /// Called by `backward` with the number of a mark, once everything recorded after it has run. Of several marks with
  /// the same number the first one counts.
  package var passed: ((Int) -> Void)?
  private var marks: [Int: Int] = [:]

  /// Marks a place in the recording for `passed`, if that is set.
  package func mark(_ number: Int) {
    guard passed != nil else { return }
    marks[number, default: 0] += 1
    record { [unowned self] in
      marks[number, default: 0] -= 1
      if marks[number] == 0 { passed?(number) }
    }
  }

  /// Runs the backward pass: all recorded gradients, from the last operation to the first. Afterwards the tape is
  /// empty.
  public func backward() {
    while let step = steps.popLast() { step() }
  }

  /// Adds `gradient` to a slot. Several slots may share a tensor, so it is copied before it would be changed.
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
