import Essentials
import Tensors

/// A 128-bit hash of a stream of bytes: MurmurHash3 x64 128 (Appleby 2011) with seed 0.
///
/// It detects changed data but is not cryptographic: an attacker can construct collisions.
package struct ContentHash: Sendable {
  private var first: UInt64 = 0
  private var second: UInt64 = 0
  private var count: UInt64 = 0
  /// Up to 15 bytes that do not fill a block yet.
  private var tail: [UInt8] = []

  package init() {}

  /// Adds integers in memory (little-endian) order.
  package mutating func update<Number: FixedWidthInteger>(_ numbers: [Number]) {
    numbers.withUnsafeBytes { update($0) }
  }

  /// Adds a string preceded by its length, so that the boundaries between strings matter.
  package mutating func update(_ text: String) {
    update(Array("\(text.utf8.count):".utf8))
    update(Array(text.utf8))
  }

  /// The hash of the first `byteCount` bytes of a file, read a megabyte at a time; `nil` if the file is shorter, cannot
  /// be read or is not a regular file.
  package static func ofFile(_ path: String, byteCount: Int = .max) -> String? {
    guard let file = try? RegularFile.handle(forReadingFrom: URL(filePath: path)) else { return nil }
    var hash = ContentHash()
    var rest = byteCount
    while rest > 0 {
      guard let chunk = try? file.read(upTo: min(rest, 1 << 20)), !chunk.isEmpty else { break }
      chunk.withUnsafeBytes { hash.update($0) }
      rest -= chunk.count
    }
    return rest == 0 || byteCount == .max ? hash.hexadecimal : nil
  }

  /// Adds the bytes of a tensor; of one with more than a megabyte every sixteenth page, because other weights differ in all
  /// of them.
  package mutating func update(sampling tensor: Tensor) {
    let page = 4096
    tensor.withBytes { bytes in
      for start in stride(from: 0, to: bytes.count, by: bytes.count > 1 << 20 ? 16 * page : page) {
        update(UnsafeRawBufferPointer(rebasing: bytes[start..<min(bytes.count, start + page)]))
      }
    }
  }

  private mutating func update(_ bytes: UnsafeRawBufferPointer) {
    count &+= UInt64(bytes.count)
    var rest = bytes[...]
    if !tail.isEmpty {
      let head = rest.prefix(16 - tail.count)
      tail += head
      rest = rest.dropFirst(head.count)
      guard tail.count == 16 else { return }
      mix(Self.word(tail[0..<8]), Self.word(tail[8..<16]))
      tail.removeAll(keepingCapacity: true)
    }
    let blocks = UnsafeRawBufferPointer(rebasing: rest.dropLast(rest.count % 16))
    for offset in stride(from: 0, to: blocks.count, by: 16) {
      mix(
        UInt64(littleEndian: blocks.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
        UInt64(littleEndian: blocks.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)))
    }
    tail += rest.suffix(rest.count % 16)
  }

  /// The hash of everything added so far, as 32 hexadecimal digits.
  package var hexadecimal: String {
    var (a, b) = (first, second)
    if !tail.isEmpty {
      b ^= Self.scrambled(Self.word(tail.dropFirst(8)), Self.secondFactor, 33, Self.firstFactor)
      a ^= Self.scrambled(Self.word(tail.prefix(8)), Self.firstFactor, 31, Self.secondFactor)
    }
    a ^= count
    b ^= count
    a &+= b
    b &+= a
    a = Self.finished(a)
    b = Self.finished(b)
    a &+= b
    b &+= a
    return [a, b].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }

  private static let firstFactor: UInt64 = 0x87C3_7B91_1142_53D5
  private static let secondFactor: UInt64 = 0x4CF5_AD43_2745_937F

  private mutating func mix(_ a: UInt64, _ b: UInt64) {
    first ^= Self.scrambled(a, Self.firstFactor, 31, Self.secondFactor)
    first = (Self.rotated(first, 27) &+ second) &* 5 &+ 0x52DC_E729
    second ^= Self.scrambled(b, Self.secondFactor, 33, Self.firstFactor)
    second = (Self.rotated(second, 31) &+ first) &* 5 &+ 0x3849_5AB5
  }

  /// Up to eight bytes as a little-endian word.
  private static func word(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var word: UInt64 = 0
    var shift: UInt64 = 0
    for byte in bytes {
      word |= UInt64(byte) << shift
      shift += 8
    }
    return word
  }

  private static func rotated(_ word: UInt64, _ turn: UInt64) -> UInt64 { word << turn | word >> (64 - turn) }

  private static func scrambled(_ word: UInt64, _ factor: UInt64, _ turn: UInt64, _ other: UInt64) -> UInt64 {
    rotated(word &* factor, turn) &* other
  }

  private static func finished(_ word: UInt64) -> UInt64 {
    var word = word
    word ^= word >> 33
    word &*= 0xFF51_AFD7_ED55_8CCD
    word ^= word >> 33
    word &*= 0xC4CE_B9FE_1A85_EC53
    return word ^ word >> 33
  }
}
