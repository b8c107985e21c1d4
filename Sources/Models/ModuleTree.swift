import Tensors

/// The modules of a model as a tree of names, for people to look at.
public struct ModuleTree: Sendable {
  /// The module's own name: `q_proj`, `layers`, `0`.
  public let name: String
  /// Modules inside it, in order.
  public private(set) var children: [ModuleTree] = []
  /// Its own weights: `weight`, `bias`, `lora_A`, `lora_B`.
  public private(set) var weights: [Weight] = []

  /// A tensor of a module.
  public struct Weight: Sendable, Hashable {
    /// `weight`, `bias`, `lora_A.weight`, ...
    public let name: String
    /// Its extents.
    public let shape: [Int]
    /// How it is stored.
    public let type: ElementType
    /// Its number of elements.
    public let count: Int
    /// The bytes it takes as stored.
    public let byteCount: Int
    /// Whether training changes it.
    public let isTrainable: Bool
  }

  /// The tree of a transformer and the adapters on it.
  public init(_ transformer: Transformer) {
    self.init(name: transformer.configuration.modelType)
    for parameter in transformer.parameters {
      add(parameter, at: parameter.name.split(separator: ".").map(String.init))
    }
    for layer in transformer.linearLayers {
      guard let lora = layer.lora else { continue }
      let path = layer.path.split(separator: ".").map(String.init)
      add(lora.a, at: path + ["lora_A"])
      add(lora.b, at: path + ["lora_B"])
    }
  }

  private init(name: String) { self.name = name }

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

  /// All weights in it and below it.
  public var allWeights: [Weight] { weights + children.flatMap(\.allWeights) }

  /// Whether two modules look alike but for their name.
  func hasShapeOf(_ other: ModuleTree) -> Bool {
    weights == other.weights && children.count == other.children.count
      && zip(children, other.children).allSatisfy { $0.name == $1.name && $0.hasShapeOf($1) }
  }

  /// The children, runs of alike ones together: `(0...29)`.
  public var groups: [(first: ModuleTree, last: ModuleTree, count: Int)] {
    var groups: [(first: ModuleTree, last: ModuleTree, count: Int)] = []
    for child in children {
      if let group = groups.last, Int(child.name) != nil, child.hasShapeOf(group.first) {
        groups[groups.count - 1] = (group.first, child, group.count + 1)
      } else {
        groups.append((child, child, 1))
      }
    }
    return groups
  }
}
