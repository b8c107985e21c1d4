import Diagnostics
import Tensors

/// A tensor to be written: described up front, made only when its turn comes, so that a model larger than memory can be
/// converted tensor by tensor.
public struct TensorSource {
  /// The name in the file.
  public let name: String
  /// The type that `load` delivers.
  public let type: ElementType
  /// The row-major shape that `load` delivers.
  public let shape: [Int]
  /// Makes the tensor; it is dropped once written.
  public let load: () throws -> Tensor

  /// A tensor made when needed.
  public init(name: String, type: ElementType, shape: [Int], load: @escaping () throws -> Tensor) {
    self.name = name
    self.type = type
    self.shape = shape
    self.load = load
  }

  /// A tensor that exists.
  public init(name: String, tensor: Tensor) {
    self.init(name: name, type: tensor.type, shape: tensor.shape) { tensor }
  }

  /// The bytes the tensor will take in the file at `path`.
  func byteCount(path: String) throws(SwiftletError) -> Int {
    guard let byteCount = TensorEntry.byteCount(of: type, shape: shape) else {
      throw SwiftletError.checkpoint(
        path: path,
        reason:
          "the tensor \(name.quotedExcerpt) cannot be written as \(type.rawValue) in the shape \(shape); choose a type "
          + "whose blocks of \(type.blockLength) fill its rows")
    }
    return byteCount
  }

  /// Makes the tensor and appends its bytes to `file`.
  func write(to file: AtomicFile, path: String) throws {
    let tensor = try load()
    guard tensor.type == type, tensor.shape == shape else {
      throw SwiftletError.checkpoint(
        path: path,
        reason:
          "the tensor \(name.quotedExcerpt) came as \(tensor.type.rawValue) \(tensor.shape) where \(type.rawValue) "
          + "\(shape) was announced; this is a fault of the program")
    }
    try tensor.withBytes { bytes in try file.write(bytes) }
  }

  /// Two tensors of one name could not be told apart by a reader.
  static func requireDistinctNames(_ tensors: [TensorSource], path: String) throws(SwiftletError) {
    var names: Set<ExactName> = []
    for tensor in tensors where !names.insert(ExactName(tensor.name)).inserted {
      throw SwiftletError.checkpoint(
        path: path, reason: "the tensor \(tensor.name.quotedExcerpt) was to be written twice; rename one")
    }
  }
}
