import Diagnostics

/// A compression format of data files, decompressed by a command-line program.
struct Compression {
  private let program: ExternalProgram
  /// The byte sequences that a file can start with. gzip also decompresses older formats, whose decoders can run for
  /// minutes on a damaged file; these are rejected.
  private let magicNumbers: [[UInt8]]

  /// - Parameter fileExtension: `gz` or `zst`.
  init(_ fileExtension: String) {
    if fileExtension == "gz" {
      program = .gzip
      magicNumbers = [[0x1F, 0x8B, 8]]
    } else {
      program = .zstandard
      // The others start a skippable frame.
      magicNumbers = [[0x28, 0xB5, 0x2F, 0xFD]] + (0x50...0x5F).map { [$0, 0x2A, 0x4D, 0x18] }
    }
  }

  /// The decompressed content of a file.
  /// - Throws: `SwiftletError` if it is damaged or not in the format.
  func decompressed(_ file: FileBytes) throws(SwiftletError) -> FileBytes {
    let start = try file.read(0..<min(4, file.count))
    guard magicNumbers.contains(where: { start.starts(with: $0) }) else {
      throw SwiftletError.data(
        "the file is not compressed with \(program.name); remove the last part of its name, or download it again",
        at: FileLocation(file: file.path))
    }
    // DEFLATE compresses at most by a factor of 1032. Rows that compress better than that are not worth training on.
    let (product, overflow) = file.count.multipliedReportingOverflow(by: 1100)
    let maximum = overflow ? Int.max : product + 64 << 20
    return try program.bytes(from: file.path, maximumBytes: maximum) { _ in ["-dc", "--", file.path] }
  }
}
