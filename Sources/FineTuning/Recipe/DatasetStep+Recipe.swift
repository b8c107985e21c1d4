import OrderedJSON

extension DatasetStep: RecipeConvertible {
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
      let hint = nearest.map { "did you mean \($0)?" } ?? "there are \(Self.names.joined(separator: ", "))"
      throw RecipeValueError(reason: "has no step \(member.key); \(hint)")
    }
    do {
      self = try Self.step(member.key, member.value)
    } catch {
      throw error.inside(".\(member.key)")
    }
  }

  private static func step(_ name: String, _ value: RecipeValue) throws(RecipeValueError) -> DatasetStep {
    switch name {
    case "select": return try selection(value)
    case "filter": return .filter(try RowCondition(value))
    case "rename_columns": return .renameColumns(try renames(value))
    case "remove_columns": return .removeColumns(try [String](value))
    case "select_columns": return .selectColumns(try [String](value))
    case "template":
      if case .scalar = value { return .template(to: "text", text: try String(value)) }
      let members = try RecipeMembers(value, allowed: ["to", "text"], expected: "text, or a mapping with to and text")
      return .template(to: try members.optional("to") ?? "text", text: try members.required("text"))
    case "messages":
      if case .list = value { return .messages(to: "messages", try [MessagePattern](value)) }
      let members = try RecipeMembers(
        value, allowed: ["to", "messages"], expected: "a list of messages, or a mapping with to and messages")
      return .messages(to: try members.optional("to") ?? "messages", try members.required("messages"))
    case "apply_chat_template": return .applyChatTemplate(to: value.isNull ? "text" : try String(value))
    case "shuffle":
      if case .scalar = value { return .shuffle(seed: try Int(value)) }
      let members = try RecipeMembers(value, allowed: ["seed"], expected: "a seed")
      return .shuffle(seed: try members.required("seed"))
    default:
      if case .scalar = value { return .split(testSize: try checkedTestSize(try Double(value)), seed: 42) }
      let members = try RecipeMembers(
        value, allowed: ["test_size", "seed"], expected: "a share, or a mapping with test_size and seed")
      return .split(
        testSize: try checkedTestSize(try members.required("test_size")), seed: try members.optional("seed") ?? 42)
    }
  }

  private static func checkedTestSize(_ size: Double) throws(RecipeValueError) -> Double {
    guard size > 0, size < 1 || size == size.rounded() else {
      throw RecipeValueError(reason: "should be a share between 0 and 1, or a number of rows")
    }
    return size
  }

  private static func selection(_ value: RecipeValue) throws(RecipeValueError) -> DatasetStep {
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
    guard start >= 0, count > 0 else { throw RecipeValueError(reason: "has to keep at least one row") }
    return .select(start: start, count: count)
  }

  private static func renames(_ value: RecipeValue) throws(RecipeValueError) -> [ColumnRename] {
    let expected = "a mapping from old to new names"
    guard case .mapping(let members) = value else { throw .mismatch(value, expected: expected) }
    var renames: [ColumnRename] = []
    for member in members {
      do { renames.append(ColumnRename(from: member.key, to: try String(member.value))) } catch {
        throw error.inside(".\(member.key)")
      }
    }
    return renames
  }

  var json: JSONValue {
    switch self {
    case .select(let start, let count): ["select": ["start": .integer(start), "count": .integer(count)]]
    case .filter(let condition): ["filter": condition.json]
    case .renameColumns(let renames):
      ["rename_columns": .object(JSONObject(renames.map { ($0.from, .string($0.to)) }))]
    case .removeColumns(let columns): ["remove_columns": columns.json]
    case .selectColumns(let columns): ["select_columns": columns.json]
    case .template(let column, let text): ["template": ["to": .string(column), "text": .string(text)]]
    case .messages(let column, let messages): ["messages": ["to": .string(column), "messages": messages.json]]
    case .applyChatTemplate(let column): ["apply_chat_template": .string(column)]
    case .shuffle(let seed): ["shuffle": .integer(seed)]
    case .split(let size, let seed): ["split": ["test_size": .number(size), "seed": .integer(seed)]]
    }
  }
}

extension DatasetStep.MessagePattern: RecipeConvertible {
  static var expectation: String { "a message with role and content" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    let members = try RecipeMembers(value, allowed: ["role", "content"], expected: Self.expectation)
    self.init(role: try members.required("role"), content: try members.required("content"))
  }

  var json: JSONValue { ["role": .string(role), "content": .string(content)] }
}

extension DatasetStep.RowCondition: RecipeConvertible {
  static var expectation: String { "a condition, as {column: lang, equals: yue}" }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    let members = try RecipeMembers(value, allowed: ["column", "equals"], expected: Self.expectation)
    self.init(column: try members.required("column"), equals: try members.optional("equals"))
  }

  var json: JSONValue {
    var object = JSONObject([("column", .string(column))])
    object["equals"] = equals
    return .object(object)
  }
}

/// A scalar of unknown type is what YAML takes it for.
extension JSONValue: RecipeConvertible {
  static var expectation: String { "text, a number, true or false" }

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
