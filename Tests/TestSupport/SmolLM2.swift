import Foundation

/// SmolLM2, if it is installed.
package enum SmolLM2 {
  package static let environment = ProcessInfo.processInfo.environment

  package static let file: URL? = {
    var paths: [String] = environment["SWIFTLET_TEST_MODEL"].map { [$0] } ?? []
    let name = "swiftlet/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    let cache = environment["XDG_CACHE_HOME"] ?? environment["HOME"].map { "\($0)/.cache" }
    if let cache { paths.append("\(cache)/\(name)") }
    return paths.map { URL(fileURLWithPath: $0) }.first { FileManager.default.fileExists(atPath: $0.path) }
  }()
}

/// Tensors that need no file; see Tests/Goldens/README.md.
package enum Formula {
  package static func values(_ name: String, count: Int, scale: Double) -> [Float] {
    let start = UInt64(crc32(name))
    return (0..<UInt64(count)).map { index in
      let hash = ((start + index) &* 2_654_435_761) & 0xFFFF_FFFF
      return Float((Double(hash) / 4_294_967_296 - 0.5) * scale)
    }
  }

  /// CRC-32 (IEEE).
  package static func crc32(_ text: String) -> UInt32 {
    var crc = UInt32.max
    for byte in text.utf8 {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
    }
    return ~crc
  }
}
