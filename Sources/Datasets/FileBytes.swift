import Diagnostics
import Checkpoints
import Foundation

/// The bytes of one open file, read by range from any thread.
///
/// Reads go through a small window, so that rows read one after another cost few system calls. Not a memory map: a file
/// that shrinks under a map kills the process, here it is an error.
final class FileBytes: @unchecked Sendable {
  // Sendable because the handle and the window are only touched while `lock` is held.
  let path: String
  let count: Int
  private let handle: FileHandle
  private let lock = NSLock()
  private var window: [UInt8] = []
  private var windowStart = 0
  static let windowSize = 1 << 16

  /// Opens `path`, which messages call `name` (a decompressed copy goes by its original's name).
  /// - Throws: `SwiftletError` when there is no such regular file or it cannot be read.
  init(path: String, name: String? = nil) throws(SwiftletError) {
    self.path = name ?? path
    let place = FileLocation(file: self.path)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw SwiftletError.data("there is no such file; check the path", at: place)
    }
    if isFolder.boolValue { throw SwiftletError.data("this is a folder; name a file in it", at: place) }
    do {
      handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      count = Int(clamping: try handle.seekToEnd())
    } catch {
      throw SwiftletError.data(
        "the file cannot be read; check its permissions and that it is a regular file", at: place)
    }
  }

  deinit { try? handle.close() }

  /// The bytes of `range`.
  /// - Throws: `SwiftletError` if the file no longer holds them.
  func read(_ range: Range<Int>) throws(SwiftletError) -> [UInt8] {
    lock.lock()
    defer { lock.unlock() }
    let windowEnd = windowStart + window.count
    if range.lowerBound < windowStart || range.upperBound > windowEnd {
      // Ahead of the file's order only where it is being read in that order.
      let isNext = range.lowerBound >= windowStart && range.lowerBound <= windowEnd + 16
      let end = isNext ? max(range.upperBound, min(count, range.lowerBound + Self.windowSize)) : range.upperBound
      window = try readFromFile(range.lowerBound..<end)
      windowStart = range.lowerBound
    }
    return Array(window[range.lowerBound - windowStart..<range.upperBound - windowStart])
  }

  private func readFromFile(_ range: Range<Int>) throws(SwiftletError) -> [UInt8] {
    var bytes: [UInt8] = []
    do {
      try handle.seek(toOffset: UInt64(range.lowerBound))
      while bytes.count < range.count, let more = try handle.read(upToCount: range.count - bytes.count), !more.isEmpty {
        if bytes.isEmpty { bytes = [UInt8](more) } else { bytes += more }
      }
    } catch {
      throw SwiftletError.data("the file cannot be read", at: FileLocation(file: path))
    }
    if bytes.count < range.count {
      throw SwiftletError.data("the file became shorter while it was read; start again", at: FileLocation(file: path))
    }
    return bytes
  }

  /// Hands over the whole file in pieces of a megabyte, each with the offset it starts at; stops when `body` says false.
  func scan(_ body: (_ chunk: [UInt8], _ offset: Int) throws(SwiftletError) -> Bool) throws(SwiftletError) {
    var offset = 0
    while offset < count {
      let end = min(count, offset + 1 << 20)
      lock.lock()
      let chunk: [UInt8]
      do {
        defer { lock.unlock() }
        chunk = try readFromFile(offset..<end)
      }
      guard try body(chunk, offset) else { return }
      offset = end
    }
  }

  /// What tells the bytes of the file from others.
  func fingerprint() throws(SwiftletError) -> String {
    var hash = ContentHash()
    try scan { chunk, _ throws(SwiftletError) in
      hash.update(chunk)
      return true
    }
    return hash.hexadecimal
  }

  /// The line that the byte at `offset` stands on, counted from 1.
  func line(at offset: Int) -> Int {
    var line = 1
    try? scan { chunk, start throws(SwiftletError) in
      for byte in chunk.prefix(max(0, offset - start)) where byte == 10 { line += 1 }
      return start + chunk.count < offset
    }
    return line
  }
}
