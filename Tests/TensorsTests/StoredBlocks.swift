import Foundation
import Tensors
import Testing

/// Four rows of a GGML format, and their values as the gguf package dequantizes them
/// (Tests/Goldens/checkpoints/README.md).
struct StoredBlocks: CustomTestStringConvertible, Sendable {
  let type: ElementType
  let bytes: [UInt8]
  let values: [Float]
  var columns: Int { values.count / 4 }
  var testDescription: String { type.rawValue }

  static let all = ElementType.allCases.filter(\.isQuantized).compactMap { try? StoredBlocks($0) }

  init(_ type: ElementType) throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Goldens/checkpoints/blocks")
    let name = type.rawValue.uppercased()
    self.type = type
    bytes = [UInt8](try Data(contentsOf: folder.appending(path: name + ".blocks")))
    let wide = [UInt8](try Data(contentsOf: folder.appending(path: name + ".f32")))
    values = stride(from: 0, to: wide.count, by: 4).map { start in
      Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(wide[start + $1]) << UInt32(8 * $1) })
    }
  }

  /// A matrix that repeats these blocks, with a multiple of the block length as width, and its dequantized values.
  func matrix(rows: Int, columns: Int, _ backend: any Backend) -> (tensor: Tensor, values: [Float]) {
    let tensor = CPUBackend.shared.empty([rows, columns], type)
    let repeated = (0..<tensor.byteCount).map { bytes[$0 % bytes.count] }
    tensor.storage.base.copyMemory(from: repeated, byteCount: repeated.count)
    return (backend.resident(tensor), (0..<rows * columns).map { values[$0 % values.count] })
  }

  /// The blocks as a matrix of 4 rows in a separate buffer.
  func tensor(_ backend: any Backend) -> Tensor { matrix(rows: 4, columns: columns, backend).tensor }
}
