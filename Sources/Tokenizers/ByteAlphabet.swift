/// GPT-2's byte alphabet: a printable character for each of the 256 byte values, used to spell the tokens of byte-level
/// vocabularies.
enum ByteAlphabet {
  /// The scalar that represents each byte.
  static let scalars: [UInt32] = {
    var scalars = [UInt32](repeating: 0, count: 256)
    var next: UInt32 = 256
    for byte in 0..<256 {
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: scalars[byte] = UInt32(byte)
      default:
        scalars[byte] = next
        next += 1
      }
    }
    return scalars
  }()

  /// The byte that each scalar below 324 represents; -1 if none.
  private static let bytes: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 324)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
    return bytes
  }()

  /// The UTF-8 encoding, one or two bytes, of the character that represents each byte.
  static let utf8: [[UInt8]] = scalars.map {
    $0 < 0x80 ? [UInt8($0)] : [0xC0 | UInt8($0 >> 6), 0x80 | UInt8($0 & 0x3F)]
  }

  /// Appends the bytes that `text` represents. Returns `false` and appends nothing if a character is not in the
  /// alphabet.
  static func appendDecoded(_ text: some Sequence<UInt8>, to output: inout [UInt8]) -> Bool {
    let start = output.count
    var lead: UInt8 = 0
    for byte in text {
      let scalar: Int
      if byte < 0x80, lead == 0 {
        scalar = Int(byte)
      } else if byte >= 0xC2, byte <= 0xC5, lead == 0 {
        lead = byte
        continue
      } else if byte >= 0x80, byte < 0xC0, lead != 0 {
        scalar = Int(lead & 0x1F) << 6 | Int(byte & 0x3F)
        lead = 0
      } else {
        output.removeSubrange(start...)
        return false
      }
      guard scalar < bytes.count, bytes[scalar] >= 0 else {
        output.removeSubrange(start...)
        return false
      }
      output.append(UInt8(truncatingIfNeeded: bytes[scalar]))
    }
    return true
  }
}
