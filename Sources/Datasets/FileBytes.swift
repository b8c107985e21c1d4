import Checkpoints
import Diagnostics
import Essentials
import Synchronization

/// Random access to the bytes of an open file, from any thread.
///
/// Reads go through a small window, so that consecutive rows need few system calls. This is not a memory map: if a
/// mapped file shrinks, the process is killed; here it is an error.
package final class FileBytes: @unchecked Sendable {
  // Sendable because the handle and the window are only accessed under `lock`.
  let path: String
  let count: Int
  private let handle: OpenFile
  private let lock = Mutex<Void>(())
  private var window: [UInt8] = []
  private var windowStart = 0
  static let windowSize = 1 << 16
  private let lineBreaks = Mutex<[Int]?>(nil)

  /// Opens `path`. Error messages call it `name`, which is the original's path for a decompressed copy.
  /// - Throws: `SwiftletError` if it is missing, not a regular file or not readable.
  init(path: String, name: String? = nil) throws(SwiftletError) {
    self.path = name ?? path
    let place = FileLocation(file: self.path)
    var status = stat()
    guard stat(path, &status) == 0 else { throw SwiftletError.data("no such file; check the path", at: place) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw SwiftletError.data("this is a folder; name a file in it", at: place)
    default:
      // Opening a FIFO would wait for a writer, and a device may never end.
      throw SwiftletError.data(
        "this is a pipe, socket or device; only regular files can be read, so save the data to a file first", at: place)
    }
    do {
      handle = try OpenFile(path)
      count = try handle.seekToEnd()
    } catch {
      throw SwiftletError.data(
        "the file cannot be read; check its permissions", at: place)
    }
  }

  /// Reads a range of bytes.
  /// - Throws: `SwiftletError` if the file has become shorter.
  func read(_ range: Range<Int>) throws(SwiftletError) -> [UInt8] {
    try lock.withLock { _ throws(SwiftletError) in try readThroughWindow(range) }
  }

  private func readThroughWindow(_ range: Range<Int>) throws(SwiftletError) -> [UInt8] {
    let windowEnd = windowStart + window.count
    if range.lowerBound < windowStart || range.upperBound > windowEnd {
      // Reads ahead only if the file is being read sequentially.
      let isNext = range.lowerBound >= windowStart && range.lowerBound <= windowEnd + 16
      let end = isNext ? max(range.upperBound, min(count, range.lowerBound + Self.windowSize)) : range.upperBound
      window = try readFromFile(range.lowerBound..<end)
      windowStart = range.lowerBound
    }
    return Array(window[range.lowerBound - windowStart..<range.upperBound - windowStart])
  }

  private func readFromFile(_ range: Range<Int>) throws(SwiftletError) -> [UInt8] {
    let bytes: [UInt8]
    do {
      try handle.seek(to: range.lowerBound)
      bytes = [UInt8](try handle.read(upTo: range.count))
    } catch {
      throw SwiftletError.data("the file cannot be read; check the disk", at: FileLocation(file: path))
    }
    if bytes.count < range.count {
      throw SwiftletError.data(
        "the file was truncated while it was being read; start again", at: FileLocation(file: path))
    }
    return bytes
  }

  /// Calls `body` with consecutive chunks of a megabyte and their offsets, until it returns false.
  func scan(_ body: (_ chunk: [UInt8], _ offset: Int) throws(SwiftletError) -> Bool) throws(SwiftletError) {
    var offset = 0
    while offset < count {
      let end = min(count, offset + 1 << 20)
      let part = offset..<end
      let chunk = try lock.withLock { _ throws(SwiftletError) in try readFromFile(part) }
      guard try body(chunk, offset) else { return }
      offset = end
    }
  }

  /// A fingerprint of the content.
  func fingerprint() throws(SwiftletError) -> String {
    var hash = ContentHash()
    try scan { chunk, _ throws(SwiftletError) in
      hash.update(chunk)
      return true
    }
    return hash.hexadecimal
  }

  /// The line of the byte at `offset`, counted from 1. The first call reads the file once.
  func line(at offset: Int) -> Int {
    let breaks = breaksBeforeBlocks
    let block = min(max(0, offset) / Self.windowSize, breaks.count - 1)
    guard block >= 0 else { return 1 }
    let start = block * Self.windowSize
    let range = start..<min(count, max(start, offset))
    let rest = (try? lock.withLock { _ throws(SwiftletError) in try readFromFile(range) }) ?? []
    return 1 + breaks[block] + rest.count { $0 == 10 }
  }

  /// The number of line breaks before each block of the file.
  private var breaksBeforeBlocks: [Int] {
    lineBreaks.withLock { known in
      if let known { return known }
      var (breaks, total) = ([Int](), 0)
      try? scan { chunk, _ throws(SwiftletError) in
        for start in stride(from: 0, to: chunk.count, by: Self.windowSize) {
          breaks.append(total)
          for byte in chunk[start..<min(chunk.count, start + Self.windowSize)] where byte == 10 { total += 1 }
        }
        return true
      }
      known = breaks
      return breaks
    }
  }
}
