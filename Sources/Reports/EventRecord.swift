/// One record of a TensorBoard event file: TensorFlow's `Event` message (`tensorflow/core/util/event.proto`), limited
/// to scalars, encoded with Protocol Buffers and framed as a TFRecord.
package struct EventRecord {
  /// Seconds since 1970.
  package var wallTime: Double
  /// The optimizer step.
  package var step: Int
  /// What is recorded: scalars, or the header of a file.
  package var content: Content

  package enum Content {
    /// The first record of every file.
    case fileVersion
    /// A run resumes at the record's step. TensorBoard drops what an interrupted run wrote from there on.
    case sessionStart
    /// Values by tag.
    case scalars([(tag: String, value: Float)])
  }

  /// Creates a record of what happened at `step`.
  package init(wallTime: Double, step: Int, content: Content) {
    self.wallTime = wallTime
    self.step = step
    self.content = content
  }

  /// The encoded record: length, checksum of the length, message, checksum of the message.
  package var bytes: [UInt8] {
    let message = self.message
    let length = Self.littleEndian(UInt64(message.count))
    return length + Self.littleEndian(CRC32C.masked(length)) + message
      + Self.littleEndian(CRC32C.masked(message))
  }

  private var message: [UInt8] {
    var bytes = [0x09] + Self.littleEndian(wallTime.bitPattern)
    // Like every Protocol Buffers writer, leave out zeros.
    if step != 0 { bytes += [0x10] + Self.varint(UInt64(bitPattern: Int64(step))) }
    switch content {
    case .fileVersion: bytes += Self.member(0x1A, Array("brain.Event:2".utf8))
    case .sessionStart: bytes += Self.member(0x3A, [0x08, 0x01])
    case .scalars(let scalars):
      let values = scalars.flatMap { tag, value in
        Self.member(0x0A, Self.member(0x0A, Array(tag.utf8)) + [0x15] + Self.littleEndian(value.bitPattern))
      }
      bytes += Self.member(0x2A, values)
    }
    return bytes
  }

  /// A length-delimited field: key, length, bytes.
  private static func member(_ key: UInt8, _ bytes: [UInt8]) -> [UInt8] { [key] + varint(UInt64(bytes.count)) + bytes }

  /// Seven bits per byte, lowest first.
  private static func varint(_ number: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = number
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }

  private static func littleEndian<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    (0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
  }
}

/// The checksum of TFRecord files: CRC-32C (Castagnoli).
package enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
  }

  /// The checksum of `bytes`.
  static func of(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { crc, byte in table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ crc >> 8 }
  }

  /// The masked checksum that TFRecord stores, because a CRC of data that contains CRCs is weak.
  package static func masked(_ bytes: [UInt8]) -> UInt32 {
    let crc = of(bytes)
    return (crc >> 15 | crc << 17) &+ 0xA282_EAD8
  }
}
