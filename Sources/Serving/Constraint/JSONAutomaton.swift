/// Reads JSON byte by byte and tells whether what it has read can still become a document that a schema allows.
///
/// Alternatives of a schema are read side by side, and dropped once a byte contradicts them.
package struct JSONAutomaton: Sendable {
  private let definitions: [String: JSONSchema]
  private var readers: [Reader]

  package init(_ schema: JSONSchemaDocument) {
    definitions = schema.definitions
    readers = Reader.alternatives(schema.root, definitions, []).map { Reader(stack: $0) }
  }

  /// Whether the document is complete.
  package var isComplete: Bool { readers.contains(where: \.isComplete) }
  /// Whether nothing but white space can follow.
  package var isOver: Bool { readers.allSatisfy { $0.stack.isEmpty } }
  /// Whether the next byte belongs to a string.
  var isInString: Bool { readers.contains(where: \.isInString) }

  /// Reads text; afterwards, `false` means that no allowed document begins like this.
  package mutating func read(_ text: String) -> Bool {
    for byte in text.utf8 where !read(byte) { return false }
    return true
  }

  private mutating func read(_ byte: UInt8) -> Bool {
    readers = readers.flatMap { $0.reading(byte, definitions) }
    // Alternatives that overlap could multiply.
    if readers.count > 64 { readers.removeLast(readers.count - 64) }
    return !readers.isEmpty
  }
}

/// One way to read a document.
private struct Reader: Sendable {
  /// What is being read, the innermost last.
  var stack: [Frame]
  private var whitespace = 0

  init(stack: [Frame]) { self.stack = stack }

  enum Frame: Sendable {
    /// A value must begin.
    case value(JSONSchema)
    /// The rest of a fixed text.
    case literal(ArraySlice<UInt8>)
    case string(escape: StringState)
    case number(NumberState, isInteger: Bool)
    case object(ObjectState)
    case array(JSONSchema, count: Int, minimum: Int, maximum: Int?, ArrayState)
  }

  enum StringState: Sendable { case text, escape, hex(Int) }
  enum NumberState: Sendable { case sign, zero, digits, point, fraction, exponent, exponentSign, exponentDigits }
  enum ArrayState: Sendable { case start, afterValue, afterComma }
  /// The properties from `next` on may follow; `nil` for any members.
  struct ObjectState: Sendable {
    enum Position: Sendable { case start, afterComma, afterKey, afterValue }
    var properties: [JSONSchema.Property]?
    var next = 0
    var position = Position.start
    var value: JSONSchema = .any

    var mayEnd: Bool { properties.map { $0[next...].allSatisfy { !$0.isRequired } } ?? true }
    var mayContinue: Bool { properties.map { next < $0.count } ?? true }
  }

  var isComplete: Bool {
    guard case .number(let state, _)? = stack.last, stack.count == 1 else { return stack.isEmpty }
    return Self.canEnd(state)
  }

  var isInString: Bool { if case .string? = stack.last { true } else { false } }

  /// The ways to read a value of `schema`, each as the frames on top of `stack`.
  static func alternatives(_ schema: JSONSchema, _ definitions: [String: JSONSchema], _ stack: [Frame]) -> [[Frame]] {
    switch schema {
    case .anyOf(let schemas): schemas.flatMap { alternatives($0, definitions, stack) }
    case .reference(let name): definitions[name].map { alternatives($0, definitions, stack) } ?? []
    default: [stack + [.value(schema)]]
    }
  }

  private static func canEnd(_ state: NumberState) -> Bool {
    switch state {
    case .zero, .digits, .fraction, .exponentDigits: true
    default: false
    }
  }

  // MARK: Reading a byte

  func reading(_ byte: UInt8, _ definitions: [String: JSONSchema]) -> [Reader] {
    if !isInLeaf, byte == 0x20 || byte == 0x0A || byte == 0x09 || byte == 0x0D {
      // Models like to go on with white space forever.
      guard whitespace < 24 else { return [] }
      var next = self
      next.whitespace += 1
      return [next]
    }
    guard let frame = stack.last else { return [] }
    var rest = self
    rest.whitespace = 0
    rest.stack.removeLast()
    switch frame {
    case .value(let schema): return rest.beginning(schema, byte)
    case .literal(let text):
      guard text.first == byte else { return [] }
      return rest.with(text.count > 1 ? .literal(text.dropFirst()) : nil)
    case .string(let state): return rest.inString(state, byte)
    case .number(let state, let isInteger): return rest.inNumber(state, isInteger, byte, definitions)
    case .object(let state): return rest.inObject(state, byte, definitions)
    case .array(let items, let count, let minimum, let maximum, let state):
      return rest.inArray(items, count, minimum, maximum, state, byte, definitions)
    }
  }

  /// Whether white space isn't allowed here, or is text.
  private var isInLeaf: Bool {
    switch stack.last {
    case .literal?, .string?: true
    case .number(let state, _)?: !Self.canEnd(state)
    default: false
    }
  }

  private func with(_ frames: Frame?...) -> [Reader] {
    var next = self
    next.stack += frames.compactMap { $0 }
    return [next]
  }

  private func beginning(_ schema: JSONSchema, _ byte: UInt8) -> [Reader] {
    func literal(_ text: StaticString) -> [Reader] {
      let bytes = text.withUTF8Buffer { Array($0) }
      return bytes.first == byte ? with(.literal(bytes.dropFirst())) : []
    }
    let isAny = if case .any = schema { true } else { false }
    switch (schema, byte) {
    case (.string, UInt8(ascii: "\"")), (.any, UInt8(ascii: "\"")): return with(.string(escape: .text))
    case (.number, _), (.integer, _), (.any, UInt8(ascii: "-")), (.any, UInt8(ascii: "0")...UInt8(ascii: "9")):
      let isInteger = if case .integer = schema { true } else { false }
      return Self.number(.sign, byte, start: true).map { with(.number($0, isInteger: isInteger)) } ?? []
    case (.boolean, _), (.any, UInt8(ascii: "t")), (.any, UInt8(ascii: "f")): return literal("true") + literal("false")
    case (.null, _), (.any, UInt8(ascii: "n")): return literal("null")
    case (.literal(let text), _):
      guard text.first == byte else { return [] }
      return with(text.count > 1 ? .literal(text.dropFirst()) : nil)
    case (.object(let properties), UInt8(ascii: "{")): return with(.object(ObjectState(properties: properties)))
    case (.anyObject, UInt8(ascii: "{")): return with(.object(ObjectState(properties: nil)))
    case (.array(let items, let minimum, let maximum), UInt8(ascii: "[")):
      return with(.array(items, count: 0, minimum: minimum, maximum: maximum, .start))
    case (_, UInt8(ascii: "{")) where isAny: return with(.object(ObjectState(properties: nil)))
    case (_, UInt8(ascii: "[")) where isAny: return with(.array(.any, count: 0, minimum: 0, maximum: nil, .start))
    default: return []
    }
  }

  private func inString(_ state: StringState, _ byte: UInt8) -> [Reader] {
    switch (state, byte) {
    case (.text, UInt8(ascii: "\"")): return [self]
    case (.text, UInt8(ascii: "\\")): return with(.string(escape: .escape))
    case (.text, 0x20...): return with(.string(escape: .text))
    case (.escape, UInt8(ascii: "u")): return with(.string(escape: .hex(4)))
    case (.escape, _):
      return "\"\\/bfnrt".utf8.contains(byte) ? with(.string(escape: .text)) : []
    case (.hex(let count), _):
      guard Character(UnicodeScalar(byte)).isHexDigit, byte < 0x80 else { return [] }
      return with(.string(escape: count > 1 ? .hex(count - 1) : .text))
    default: return []
    }
  }

  /// The state after a byte of a number; `nil` if it doesn't belong to it.
  private static func number(_ state: NumberState, _ byte: UInt8, start: Bool = false) -> NumberState? {
    let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    switch state {
    case .sign:
      if start, byte == UInt8(ascii: "-") { return .sign }
      return isDigit ? (byte == UInt8(ascii: "0") ? .zero : .digits) : nil
    case .zero, .digits:
      if isDigit { if case .digits = state { return .digits } else { return nil } }
      if byte == UInt8(ascii: ".") { return .point }
      return byte | 0x20 == UInt8(ascii: "e") ? .exponent : nil
    case .point: return isDigit ? .fraction : nil
    case .fraction: return isDigit ? .fraction : byte | 0x20 == UInt8(ascii: "e") ? .exponent : nil
    case .exponent:
      if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { return .exponentSign }
      return isDigit ? .exponentDigits : nil
    case .exponentSign, .exponentDigits: return isDigit ? .exponentDigits : nil
    }
  }

  private func inNumber(
    _ state: NumberState, _ isInteger: Bool, _ byte: UInt8, _ definitions: [String: JSONSchema]
  ) -> [Reader] {
    if let next = Self.number(state, byte) {
      switch next {
      case .point, .exponent: if isInteger { return [] }
      default: break
      }
      return with(.number(next, isInteger: isInteger))
    }
    // The byte belongs to what the number is in.
    return Self.canEnd(state) ? reading(byte, definitions) : []
  }

  private func inArray(
    _ items: JSONSchema, _ count: Int, _ minimum: Int, _ maximum: Int?, _ state: ArrayState, _ byte: UInt8,
    _ definitions: [String: JSONSchema]
  ) -> [Reader] {
    switch (state, byte) {
    case (.start, UInt8(ascii: "]")), (.afterValue, UInt8(ascii: "]")): return count >= minimum ? [self] : []
    case (.afterValue, UInt8(ascii: ",")):
      guard count < maximum ?? .max else { return [] }
      return with(.array(items, count: count, minimum: minimum, maximum: maximum, .afterComma))
    case (.start, _), (.afterComma, _):
      guard count < maximum ?? .max else { return [] }
      let frames = stack + [.array(items, count: count + 1, minimum: minimum, maximum: maximum, .afterValue)]
      return Self.alternatives(items, definitions, frames).flatMap { Reader(stack: $0).reading(byte, definitions) }
    default: return []
    }
  }

  private func inObject(_ state: ObjectState, _ byte: UInt8, _ definitions: [String: JSONSchema]) -> [Reader] {
    var next = state
    switch (state.position, byte) {
    case (.start, UInt8(ascii: "}")), (.afterValue, UInt8(ascii: "}")): return state.mayEnd ? [self] : []
    case (.afterValue, UInt8(ascii: ",")):
      guard state.mayContinue else { return [] }
      next.position = .afterComma
      return with(.object(next))
    case (.start, UInt8(ascii: "\"")), (.afterComma, UInt8(ascii: "\"")): return keys(state)
    case (.afterKey, UInt8(ascii: ":")):
      next.position = .afterValue
      return Self.alternatives(state.value, definitions, stack + [.object(next)]).map { Reader(stack: $0) }
    default: return []
    }
  }

  /// The ways to go on with a key, whose opening quote has been read.
  private func keys(_ state: ObjectState) -> [Reader] {
    var next = state
    next.position = .afterKey
    guard let properties = state.properties else { return with(.object(next), .string(escape: .text)) }
    var readers: [Reader] = []
    for index in state.next..<properties.count {
      next.next = index + 1
      next.value = properties[index].schema
      readers += with(.object(next), .literal(properties[index].key.dropFirst()))
      if properties[index].isRequired { break }
    }
    return readers
  }
}
