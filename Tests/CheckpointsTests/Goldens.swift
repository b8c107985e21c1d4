import Checkpoints
import Foundation
import OrderedJSON
import Tensors

/// The files in `Tests/Goldens/checkpoints`.
enum Golden {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Goldens/checkpoints")

  static func url(_ name: String) -> URL { folder.appending(path: name) }

  static func bytes(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: url(name))) }

  static func json(_ name: String) throws -> JSONValue { try JSONValue(parsing: try bytes(name)) }
}

/// A temporary folder that is deleted when released.
final class TemporaryFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appending(path: "checkpoints-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func file(_ name: String, _ bytes: some Sequence<UInt8>) throws -> URL {
    let file = url.appending(path: name)
    try Data(bytes).write(to: file)
    return file
  }

  var contents: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() } }
}

extension Tensor {
  var bytes: [UInt8] { withBytes { Array($0) } }

  var hexadecimal: String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

  var floats: [Float] {
    withBytes { bytes in (0..<count).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) } }
  }

  static func float32(_ values: [Float], shape: [Int]) -> Tensor {
    tensor(.float32, shape: shape, values.flatMap { withUnsafeBytes(of: $0) { Array($0) } })
  }

  static func tensor(_ type: ElementType, shape: [Int], _ bytes: [UInt8]) -> Tensor {
    let base = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 64)
    bytes.withUnsafeBytes { base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count) }
    let storage = Storage(base: base, byteCount: bytes.count) { base, _ in base.deallocate() }
    return Tensor(type: type, shape: shape, storage: storage)
  }
}
