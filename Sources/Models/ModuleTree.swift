import Tensors

/// The modules of a model as a tree of names, for display.
public struct ModuleTree: Sendable {
  /// The module's own name: `q_proj`, `layers`, `0`.
  public let name: String
  /// The modules inside it, in order.
  public private(set) var children: [ModuleTree] = []
  /// Its own weights: `weight`, `bias`, `lora_A`, `lora_B`.
  public private(set) var weights: [Weight] = []

  /// A weight of a module.
  public struct Weight: Sendable, Hashable {
    /// Its name within the module: `weight`, `bias`, `lora_A`.
    public let name: String
    /// Its shape, outermost dimension first.
    public let shape: [Int]
    /// The type it is stored in.
    public let type: ElementType
    /// The number of elements, which is the number of parameters it counts for.
    public let count: Int
    /// The number of bytes it takes as stored, including the scales of 4-bit blocks.
    public let byteCount: Int
    /// Whether training changes it, as it does the weights of an adapter.
    public let isTrainable: Bool
  }

  /// Creates the tree of a transformer and its LoRA updates.
  public init(_ transformer: Transformer) {
    self.init(name: transformer.configuration.modelType)
    for parameter in transformer.parameters {
      add(parameter, at: parameter.name.split(separator: ".").map(String.init))
    }
    for table in [transformer.embedding] + (transformer.head === transformer.embedding ? [] : [transformer.head]) {
      guard let rows = table.replacement?.parameter else { continue }
      add(rows, at: table.name.split(separator: ".").dropLast().map(String.init) + ["trainable_tokens_delta"])
    }
    for layer in transformer.linearLayers {
      guard let lora = layer.lora else { continue }
      let path = layer.path.split(separator: ".").map(String.init)
      add(lora.a, at: path + ["lora_A"])
      add(lora.b, at: path + ["lora_B"])
      if let bias = lora.bias { add(bias, at: path + ["lora_B_bias"]) }
      if let magnitude = lora.magnitude { add(magnitude.parameter, at: path + ["lora_magnitude_vector"]) }
    }
    for parameter in transformer.expertParameters { addUpdates(of: parameter) }
  }

  private init(name: String) { self.name = name }

  /// Adds the updates of experts. The layers of one expert that are one matrix for an update have its A in common.
  private mutating func addUpdates(of parameter: ExpertParameter) {
    for layers in parameter.experts {
      for (index, layer) in layers.enumerated() {
        guard let lora = layer.lora else { continue }
        let path = layer.path.split(separator: ".").map(String.init)
        if index == 0 { add(lora.a, at: path + ["lora_A"]) }
        add(lora.b, at: path + ["lora_B"])
      }
    }
  }

  private mutating func add(_ parameter: Parameter, at path: [String]) {
    guard let first = path.first else { return }
    if path.count == 1 {
      let value = parameter.value
      weights.append(
        Weight(
          name: first, shape: value.shape, type: value.type, count: value.count, byteCount: value.totalByteCount,
          isTrainable: parameter.isTrainable))
      return
    }
    let index = children.firstIndex { $0.name == first } ?? children.endIndex
    if index == children.endIndex { children.append(ModuleTree(name: first)) }
    children[index].add(parameter, at: Array(path.dropFirst()))
  }

  /// All weights of this module and of the modules inside it.
  public var allWeights: [Weight] { weights + children.flatMap(\.allWeights) }

  /// Whether two modules are equal except for their own names.
  func hasSameContents(as other: ModuleTree) -> Bool {
    weights == other.weights && children.count == other.children.count
      && zip(children, other.children).allSatisfy { $0.name == $1.name && $0.hasSameContents(as: $1) }
  }

  /// Children with equal contents.
  public struct Group: Sendable {
    /// The children, in order.
    public fileprivate(set) var members: [ModuleTree]

    /// Their names: "norm", "0-29", or "0, 2-4, 7" if others are in between. Long lists are shortened.
    public var name: String {
      var runs: [(first: Int, last: Int)] = []
      for number in members.compactMap({ Int($0.name) }) {
        if let last = runs.last?.last, last + 1 == number {
          runs[runs.count - 1].last = number
        } else {
          runs.append((number, number))
        }
      }
      guard runs.count > 0, members.count > 1 else { return members[0].name }
      var texts = runs.map { $0.first == $0.last ? "\($0.first)" : "\($0.first)-\($0.last)" }
      if texts.count > 6 { texts.replaceSubrange(4..<texts.count - 1, with: ["…"]) }
      return texts.joined(separator: ", ")
    }
  }

  /// The children, with numbered modules of equal contents in one group, whether or not they follow each other.
  public var groups: [Group] {
    var groups: [Group] = []
    for child in children {
      if Int(child.name) != nil,
        let place = groups.firstIndex(where: {
          Int($0.members[0].name) != nil && child.hasSameContents(as: $0.members[0])
        })
      {
        groups[place].members.append(child)
      } else {
        groups.append(Group(members: [child]))
      }
    }
    return groups
  }
}
