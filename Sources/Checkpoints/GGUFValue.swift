/// A metadata value of a GGUF file. Cases keep the exact type, so that a file can be written back unchanged.
public enum GGUFValue: Sendable, Hashable {
  /// An integer of 8, 16 or 32 bits.
  case uint8(UInt8), int8(Int8), uint16(UInt16), int16(Int16), uint32(UInt32), int32(Int32)
  /// A 64-bit integer, or a floating-point number.
  case uint64(UInt64), int64(Int64), float32(Float), float64(Double)
  /// A boolean, or a UTF-8 string.
  case bool(Bool), string(String)
  /// Several values of the same type.
  case array(GGUFArray)
}

/// A metadata array of a GGUF file. All elements have the same type.
public enum GGUFArray: Sendable, Hashable {
  /// Integers of 8, 16 or 32 bits.
  case uint8([UInt8]), int8([Int8]), uint16([UInt16]), int16([Int16]), uint32([UInt32]), int32([Int32])
  /// 64-bit integers, or floating-point numbers.
  case uint64([UInt64]), int64([Int64]), float32([Float]), float64([Double])
  /// Booleans, or UTF-8 strings.
  case bool([Bool]), string([String])
  /// Nested arrays, at most eight levels deep in files that can be read.
  case array([GGUFArray])

  /// The number of elements of the outermost array.
  public var count: Int {
    switch self {
    case .uint8(let values): values.count
    case .int8(let values): values.count
    case .uint16(let values): values.count
    case .int16(let values): values.count
    case .uint32(let values): values.count
    case .int32(let values): values.count
    case .uint64(let values): values.count
    case .int64(let values): values.count
    case .float32(let values): values.count
    case .float64(let values): values.count
    case .bool(let values): values.count
    case .string(let values): values.count
    case .array(let values): values.count
    }
  }
}

extension GGUFValue {
  /// The value of any integer case; `nil` for other cases and if it does not fit `Int`.
  public var integer: Int? {
    switch self {
    case .uint8(let value): Int(value)
    case .int8(let value): Int(value)
    case .uint16(let value): Int(value)
    case .int16(let value): Int(value)
    case .uint32(let value): Int(value)
    case .int32(let value): Int(value)
    case .uint64(let value): Int(exactly: value)
    case .int64(let value): Int(value)
    default: nil
    }
  }

  /// The value of any integer or floating-point case, rounded to `Double`; `nil` for other cases.
  public var double: Double? {
    switch self {
    case .float32(let value): Double(value)
    case .float64(let value): value
    case .uint64(let value): Double(value)
    default: integer.map(Double.init)
    }
  }

  /// The value of a `bool`; `nil` for other cases.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The value of a `string`; `nil` for other cases.
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  /// The elements of an array of strings; `nil` for other cases.
  public var strings: [String]? { if case .array(.string(let values)) = self { values } else { nil } }
  /// The elements of an array of booleans; `nil` for other cases.
  public var bools: [Bool]? { if case .array(.bool(let values)) = self { values } else { nil } }

  /// The elements of an array of any integer type; `nil` for other cases and if one does not fit `Int`.
  public var integers: [Int]? {
    guard case .array(let array) = self else { return nil }
    switch array {
    case .uint8(let values): return values.map(Int.init)
    case .int8(let values): return values.map(Int.init)
    case .uint16(let values): return values.map(Int.init)
    case .int16(let values): return values.map(Int.init)
    case .uint32(let values): return values.map(Int.init)
    case .int32(let values): return values.map(Int.init)
    case .int64(let values): return values.map(Int.init)
    case .uint64(let values):
      let integers = values.compactMap { Int(exactly: $0) }
      return integers.count == values.count ? integers : nil
    default: return nil
    }
  }

  /// The elements of an array of either floating-point type, rounded to `Float`; `nil` for other cases.
  public var floats: [Float]? {
    guard case .array(let array) = self else { return nil }
    switch array {
    case .float32(let values): return values
    case .float64(let values): return values.map(Float.init)
    default: return nil
    }
  }
}

/// The metadata of a GGUF file: an ordered dictionary whose keys compare byte by byte.
public struct GGUFMetadata: Sendable {
  /// The keys and values, in file order.
  public private(set) var entries: [(key: String, value: GGUFValue)] = []
  private var indices: [ExactName: Int] = [:]

  /// Creates metadata without entries.
  public init() {}

  /// The keys, in file order.
  public var keys: [String] { entries.map(\.key) }

  /// The value for `key`. Setting it replaces the value in place or appends an entry; setting `nil` removes the entry.
  public subscript(key: String) -> GGUFValue? {
    get { indices[ExactName(key)].map { entries[$0].value } }
    set {
      let name = ExactName(key)
      switch (indices[name], newValue) {
      case (let index?, let value?): entries[index].value = value
      case (nil, let value?):
        indices[name] = entries.count
        entries.append((key, value))
      case (let index?, nil):
        entries.remove(at: index)
        indices = Dictionary(uniqueKeysWithValues: entries.enumerated().map { (ExactName($1.key), $0) })
      case (nil, nil): break
      }
    }
  }
}
