import Diagnostics
import Tensors

/// A tensor to write, with its name, type and shape known up front and its elements loaded on demand. This lets a model
/// larger than memory be converted one tensor at a time.
public struct TensorSource {
  /// The tensor's name in the file.
  public let name: String
  /// The element type of the tensor that `load` returns.
  public let type: ElementType
  /// The row-major shape of the tensor that `load` returns.
  public let shape: [Int]
  /// Loads or computes the tensor. It is released once written.
  public let load: () throws -> Tensor

  /// Creates a tensor that `load` returns when it is about to be written.
  public init(name: String, type: ElementType, shape: [Int], load: @escaping () throws -> Tensor) {
    self.name = name
    self.type = type
    self.shape = shape
    self.load = load
  }

  /// Creates a source of a tensor that is in memory already.
  public init(name: String, tensor: Tensor) {
    self.init(name: name, type: tensor.type, shape: tensor.shape) { tensor }
  }

  /// The size of the tensor in bytes. `path` is the file being written, for errors.
  func byteCount(path: String) throws(SwiftletError) -> Int {
    guard let byteCount = TensorEntry.byteCount(of: type, shape: shape) else {
      throw SwiftletError.checkpoint(
        path: path,
        reason:
          "the tensor \(name.quotedExcerpt) of shape \(shape) cannot be stored as \(type.rawValue), which needs rows that "
          + "are a multiple of \(type.blockLength); choose another type")
    }
    return byteCount
  }

  /// Loads the tensor and appends its bytes to `file`.
  func write(to file: AtomicFile, path: String) throws {
    let tensor = try load()
    guard tensor.type == type, tensor.shape == shape else {
      throw SwiftletError.checkpoint(
        path: path,
        reason:
          "the tensor \(name.quotedExcerpt) is \(tensor.type.rawValue) \(tensor.shape) but was declared as "
          + "\(type.rawValue) \(shape); this is a bug in Swiftlet")
    }
    try tensor.withBytes { bytes in try file.write(bytes) }
  }

  /// Checks that no two tensors have the same name, which readers could not tell apart.
  static func requireDistinctNames(_ tensors: [TensorSource], path: String) throws(SwiftletError) {
    var names: Set<ExactName> = []
    for tensor in tensors where !names.insert(ExactName(tensor.name)).inserted {
      throw SwiftletError.checkpoint(
        path: path, reason: "two tensors are named \(tensor.name.quotedExcerpt); rename one")
    }
  }
}
