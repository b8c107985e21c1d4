import Diagnostics
import Tensors

/// Reads the fields of a GGUF header in order.
///
/// Every count and length is checked against the bytes that remain before it is used, so a hostile file cannot make the
/// reader allocate more than a small multiple of the file's size.
struct GGUFReader {
  let bytes: UnsafeRawBufferPointer
  let path: String
  private(set) var position = 0
  /// The deepest nesting of arrays to accept. Real files have one level.
  static let maxNesting = 8

  init(bytes: UnsafeRawBufferPointer, path: String) {
    self.bytes = bytes
    self.path = path
  }

  var remaining: Int { bytes.count - position }

  func failure(_ reason: String) -> SwiftletError {
    .corrupt(path, reason)
  }

  mutating func scalar<Scalar: BitwiseCopyable>(_: Scalar.Type, _ what: String) throws(SwiftletError) -> Scalar {
    guard MemoryLayout<Scalar>.size <= remaining else { throw failure("the file ends inside \(what)") }
    defer { position += MemoryLayout<Scalar>.size }
    return bytes.loadUnaligned(fromByteOffset: position, as: Scalar.self)
  }

  /// A count of items that each take at least `size` bytes.
  mutating func count(ofSize size: Int, _ what: String) throws(SwiftletError) -> Int {
    let count = try scalar(UInt64.self, what)
    guard count <= UInt64(remaining / size) else {
      throw failure("\(what) claims \(count) elements, more than the file holds")
    }
    return Int(count)
  }

  mutating func string(_ what: String) throws(SwiftletError) -> String {
    let length = try count(ofSize: 1, what)
    let utf8 = UnsafeRawBufferPointer(rebasing: bytes[position..<position + length]).bindMemory(to: UInt8.self)
    guard let text = String(validating: utf8, as: UTF8.self) else { throw failure("\(what) is not valid UTF-8") }
    position += length
    return text
  }

  mutating func value(_ key: String) throws(SwiftletError) -> GGUFValue {
    let what = "the value of \(key.quotedExcerpt)"
    let type = try scalar(UInt32.self, what)
    switch type {
    case 0: return .uint8(try scalar(UInt8.self, what))
    case 1: return .int8(try scalar(Int8.self, what))
    case 2: return .uint16(try scalar(UInt16.self, what))
    case 3: return .int16(try scalar(Int16.self, what))
    case 4: return .uint32(try scalar(UInt32.self, what))
    case 5: return .int32(try scalar(Int32.self, what))
    case 6: return .float32(try scalar(Float.self, what))
    case 7: return .bool(try scalar(UInt8.self, what) != 0)
    case 8: return .string(try string(what))
    case 9: return .array(try array(what, depth: 1))
    case 10: return .uint64(try scalar(UInt64.self, what))
    case 11: return .int64(try scalar(Int64.self, what))
    case 12: return .float64(try scalar(Double.self, what))
    default: throw failure("the value of \(key.quotedExcerpt) has the unknown type \(type)")
    }
  }

  private mutating func array(_ what: String, depth: Int) throws(SwiftletError) -> GGUFArray {
    if depth > Self.maxNesting { throw failure("\(what) nests arrays more than \(Self.maxNesting) deep") }
    let type = try scalar(UInt32.self, what)
    switch type {
    case 0: return .uint8(try scalars(UInt8.self, what))
    case 1: return .int8(try scalars(Int8.self, what))
    case 2: return .uint16(try scalars(UInt16.self, what))
    case 3: return .int16(try scalars(Int16.self, what))
    case 4: return .uint32(try scalars(UInt32.self, what))
    case 5: return .int32(try scalars(Int32.self, what))
    case 6: return .float32(try scalars(Float.self, what))
    case 7: return .bool(try scalars(UInt8.self, what).map { $0 != 0 })
    case 8:
      let count = try count(ofSize: 8, what)
      var strings: [String] = []
      strings.reserveCapacity(count)
      for _ in 0..<count { strings.append(try string(what)) }
      return .string(strings)
    case 9:
      let count = try count(ofSize: 12, what)
      var arrays: [GGUFArray] = []
      for _ in 0..<count { arrays.append(try array(what, depth: depth + 1)) }
      return .array(arrays)
    case 10: return .uint64(try scalars(UInt64.self, what))
    case 11: return .int64(try scalars(Int64.self, what))
    case 12: return .float64(try scalars(Double.self, what))
    default: throw failure("\(what) is an array of the unknown type \(type)")
    }
  }

  private mutating func scalars<Scalar: BitwiseCopyable>(
    _: Scalar.Type, _ what: String
  ) throws(SwiftletError) -> [Scalar] {
    let count = try count(ofSize: MemoryLayout<Scalar>.size, what)
    let byteCount = count * MemoryLayout<Scalar>.size
    let source = UnsafeRawBufferPointer(rebasing: bytes[position..<position + byteCount])
    position += byteCount
    return [Scalar](unsafeUninitializedCapacity: count) { target, initialized in
      UnsafeMutableRawBufferPointer(target).copyMemory(from: source)
      initialized = count
    }
  }
}
