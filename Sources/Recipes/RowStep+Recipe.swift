import Diagnostics
import Datasets
import OrderedJSON

extension RowStep: RecipeConvertible {
  static var listExpectation: String { "a list of steps" }
  static var expectation: String { "a step, one of \(names.joined(separator: ", "))" }
  static let names = [
    "select", "filter", "rename_columns", "remove_columns", "select_columns", "template", "messages",
    "apply_chat_template", "shuffle", "split",
  ]

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .mapping(let members) = value, members.count == 1, let member = members.first else {
      throw .mismatch(value, expected: Self.expectation)
    }
    guard Self.names.contains(member.key) else {
      let nearest = EditDistance.nearest(to: member.key, among: Self.names)
      let hint = nearest.map { "did you mean \($0)?" } ?? "the steps are \(Self.names.joined(separator: ", "))"
      throw RecipeValueError(reason: "is an unknown step \(member.key); \(hint)")
    }
    do {
      self = try Self.step(member.key, member.value)
    } catch {
      throw error.inside(".\(member.key)")
    }
  }

  private static func step(_ name: String, _ value: RecipeValue) throws(RecipeValueError) -> RowStep {
    switch name {
    case "select": return try selection(value)
    case "filter": return try filter(value)
    case "rename_columns": return .renameColumns(try renamings(value))
    case "remove_columns": return .removeColumns(try [String](value))
    case "select_columns": return .selectColumns(try [String](value))
    case "template":
      if case .scalar = value { return .template(column: "text", try TextPattern(value)) }
      let members = try RecipeMembers(value, allowed: ["to", "text"], expected: "text, or a mapping with to and text")
      return .template(column: try members.optional("to") ?? "text", try members.required("text"))
    case "messages":
      if case .list = value { return .messages(column: "messages", try [MessagePattern](value)) }
      let members = try RecipeMembers(
        value, allowed: ["to", "messages"], expected: "a list of messages, or a mapping with to and messages")
      return .messages(column: try members.optional("to") ?? "messages", try members.required("messages"))
    case "apply_chat_template": return .applyChatTemplate(column: value.isNull ? "text" : try String(value))
    case "shuffle":
      if case .scalar = value { return .shuffle(seed: try UInt64(value)) }
      let members = try RecipeMembers(value, allowed: ["seed"], expected: "a seed")
      return .shuffle(seed: try members.required("seed"))
    default:
      if case .scalar = value { return .split(try split(try Double(value), seed: 42)) }
      let members = try RecipeMembers(
        value, allowed: ["test_size", "seed"], expected: "a share, or a mapping with test_size and seed")
      return .split(try split(try members.required("test_size"), seed: try members.optional("seed") ?? 42))
    }
  }

  /// A split whose other part becomes the validation set.
  private static func split(_ size: Double, seed: UInt64) throws(RecipeValueError) -> Split {
    guard size > 0, size < 1 || size == size.rounded() else {
      throw RecipeValueError(reason: "must be a share between 0 and 1, or a number of rows")
    }
    return Split(testSize: Split.Size(size), seed: seed, part: .train)
  }

  private static func filter(_ value: RecipeValue) throws(RecipeValueError) -> RowStep {
    let members = try RecipeMembers(
      value, allowed: ["column", "equals"], expected: "a condition, as {column: lang, equals: yue}")
    return .filter(column: try members.required("column"), equals: try members.optional("equals"))
  }

  private static func selection(_ value: RecipeValue) throws(RecipeValueError) -> RowStep {
    var start = 0
    let count: Int
    if case .scalar = value {
      count = try Int(value)
    } else {
      let members = try RecipeMembers(
        value, allowed: ["start", "count"], expected: "a number of rows, or a mapping with start and count")
      start = try members.optional("start") ?? 0
      count = try members.required("count")
    }
    guard start >= 0, count > 0 else { throw RecipeValueError(reason: "must keep at least one row") }
    let end = start.addingReportingOverflow(count)
    return .select(start..<(end.overflow ? .max : end.partialValue))
  }

  private static func renamings(_ value: RecipeValue) throws(RecipeValueError) -> [Renaming] {
    let expected = "a mapping from old to new names"
    guard case .mapping(let members) = value else { throw .mismatch(value, expected: expected) }
    var renamings: [Renaming] = []
    for member in members {
      do { renamings.append(Renaming(member.key, try String(member.value))) } catch {
        throw error.inside(".\(member.key)")
      }
    }
    return renamings
  }

  var json: JSONValue {
    switch self {
    case .select(let range): return ["select": ["start": .integer(range.lowerBound), "count": .integer(range.count)]]
    case .filter(let column, let equals):
      var condition = JSONObject([("column", .string(column))])
      condition["equals"] = equals
      return ["filter": .object(condition)]
    case .renameColumns(let renamings):
      return ["rename_columns": .object(JSONObject(renamings.map { ($0.old, .string($0.new)) }))]
    case .removeColumns(let columns): return ["remove_columns": columns.json]
    case .selectColumns(let columns): return ["select_columns": columns.json]
    case .template(let column, let text): return ["template": ["to": .string(column), "text": text.json]]
    case .messages(let column, let messages):
      return ["messages": ["to": .string(column), "messages": messages.json]]
    case .applyChatTemplate(let column): return ["apply_chat_template": .string(column)]
    case .shuffle(let seed): return ["shuffle": .integer(Int(clamping: seed))]
    case .split(let split):
      let size: JSONValue =
        switch split.testSize {
        case .fraction(let fraction): .number(fraction)
        case .rows(let rows): .integer(rows)
        }
      return ["split": ["test_size": size, "seed": .integer(Int(clamping: split.seed ?? 42))]]
    }
  }
}

extension Split.Size {
  /// A share below 1, else a number of rows.
  init(_ size: Double) { self = size < 1 ? .fraction(size) : .rows(Int(clamping: size)) }
}

extension MessagePattern: RecipeConvertible {
  static var expectation: String { "a message with role and content" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    let members = try RecipeMembers(value, allowed: ["role", "content"], expected: Self.expectation)
    self.init(role: try members.required("role"), content: try members.required("content"))
  }

  var json: JSONValue { ["role": .string(role), "content": content.json] }
}

extension TextPattern: RecipeConvertible {
  static var expectation: String { "a string with {columns}" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    let text = try String(value)
    do throws(SwiftletError) { try self.init(text) } catch {
      throw RecipeValueError(reason: "is not valid: \(error.reason)")
    }
  }

  var json: JSONValue { .string(source) }
}

/// The type of a scalar is the one that YAML gives it.
extension JSONValue: RecipeConvertible {
  static var expectation: String { "a string, a number, true or false" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    guard case .scalar(let text, let isQuoted) = value else { throw .mismatch(value, expected: Self.expectation) }
    if isQuoted {
      self = .string(text)
    } else if value.isNull {
      self = .null
    } else if ["true", "false"].contains(text.lowercased()) {
      self = .bool(text.lowercased() == "true")
    } else if let number = Int(text) {
      self = .integer(number)
    } else if text.contains(where: \.isNumber), let number = Double(text), number.isFinite {
      self = .number(number)
    } else {
      self = .string(text)
    }
  }

  var json: JSONValue { self }
}
