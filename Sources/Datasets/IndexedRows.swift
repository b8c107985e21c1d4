import Diagnostics
import OrderedJSON

/// The rows of one file, of which only the places are held in memory; a row is read and parsed when it is asked for.
struct IndexedRows: RowSource {
  let bytes: FileBytes
  /// The offsets of each record, without the line break that ends it.
  let records: [Range<Int>]
  /// What tells `parse` from that of other formats.
  let format: String
  /// Makes a row of a record's bytes; the line in its error counts from the record's first.
  let parse: @Sendable ([UInt8]) throws(SwiftletError) -> Row

  var count: Int { records.count }

  func row(at index: Int) throws(SwiftletError) -> Row {
    guard records.indices.contains(index) else { throw outOfRange(index) }
    let record = try bytes.read(records[index])
    do {
      return try parse(record)
    } catch {
      var location = location(of: index)
      if let line = error.location.line { location.line = (location.line ?? 1) + line - 1 }
      throw error.relocated(to: location)
    }
  }

  func location(of index: Int) -> FileLocation {
    guard records.indices.contains(index) else { return FileLocation(file: bytes.path) }
    return FileLocation(file: bytes.path, line: bytes.line(at: records[index].lowerBound))
  }

  /// The format, and the bytes of the file.
  func fingerprint() throws(SwiftletError) -> String { combined(["file", format, try bytes.fingerprint()]) }
}

extension FileBytes {
  /// Where the text starts: after a UTF-8 byte order mark, if there is one.
  /// - Throws: `SwiftletError` on the marks of UTF-16 and UTF-32, which no reader here decodes.
  func textStart() throws(SwiftletError) -> Int {
    let head = try read(0..<min(3, count))
    if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) {
      throw SwiftletError.data("the text is UTF-16; save it as UTF-8", at: FileLocation(file: path))
    }
    return head == [0xEF, 0xBB, 0xBF] ? 3 : 0
  }

  /// The offset and value of the first byte from `start` on that is not JSON's white space.
  func firstByte(from start: Int) throws(SwiftletError) -> (offset: Int, byte: UInt8)? {
    var found: (offset: Int, byte: UInt8)?
    try scan { chunk, offset throws(SwiftletError) in
      let from = max(0, min(start - offset, chunk.count))
      if let index = chunk[from...].firstIndex(where: { !isJSONSpace($0) }) { found = (offset + index, chunk[index]) }
      return found == nil
    }
    return found
  }

  /// The lines from `start` on, without their ends. A last line without an end counts; nothing after a last end does not.
  ///
  /// - Parameters:
  ///   - returnEnds: whether a carriage return of its own ends a line too, as in Python's text files.
  ///   - skipsBlank: whether lines of nothing but spaces are left out.
  func lines(from start: Int, returnEnds: Bool, skipsBlank: Bool) throws(SwiftletError) -> [Range<Int>] {
    var lines: [Range<Int>] = []
    var lineStart = start
    var lastByteOfText = start  // one past the last byte that is not a space
    var afterReturn = false
    func close(at end: Int) {
      if !skipsBlank || lastByteOfText > lineStart { lines.append(lineStart..<end) }
    }
    try scan { chunk, offset throws(SwiftletError) in
      for (index, byte) in chunk.enumerated() where offset + index >= start {
        let here = offset + index
        if byte == 10 {
          // The carriage return before it ended the line already, or belongs to the line's end.
          if afterReturn, returnEnds { lineStart = here } else { close(at: afterReturn ? here - 1 : here) }
          lineStart = here + 1
        } else if byte == 13, returnEnds {
          close(at: here)
          lineStart = here + 1
        } else if !isJSONSpace(byte) {
          lastByteOfText = here + 1
        }
        afterReturn = byte == 13
      }
      return true
    }
    if lineStart < count { close(at: count) }
    return lines
  }
}

func isJSONSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
