import Diagnostics
import OrderedJSON

/// One step that turns rows into other rows before they are tokenized, in the order of a recipe.
///
/// Wherever text is made of columns, `{name}` stands for a column, `{a.b}` for a member of one, `{{` and `}}` for braces.
public enum RowStep: Sendable, Hashable {
  /// Only the rows of a range of numbers, cut to those there are.
  case select(Range<Int>)
  /// Only rows whose column, nested ones with dots, is there and not null, and equals `equals` if that is given.
  case filter(column: String, equals: JSONValue?)
  /// Only these columns.
  case selectColumns([String])
  /// Other names for columns, all at once.
  case renameColumns([Renaming])
  /// Without these columns.
  case removeColumns([String])
  /// A new column of text made from others.
  case template(column: String, TextPattern)
  /// A new column of messages made from others.
  case messages(column: String, [MessagePattern])
  /// A new column of text: the `messages` column, which goes, as the chat template renders it.
  case applyChatTemplate(column: String)
  /// NumPy's permutation under a seed, as `Dataset.shuffle(seed=...)` of `datasets`.
  case shuffle(seed: UInt64)
  /// One part of `Dataset.train_test_split`.
  case split(Split)

  /// A column's new name.
  public struct Renaming: Sendable, Hashable {
    /// The name it has.
    public var old: String
    /// The name it gets.
    public var new: String

    /// From `old` to `new`.
    public init(_ old: String, _ new: String) {
      self.old = old
      self.new = new
    }
  }
}

/// A message whose content is filled in from a row's columns.
public struct MessagePattern: Sendable, Hashable {
  /// The role of the message, such as `user`.
  public var role: String
  /// The content, with columns in braces.
  public var content: TextPattern

  /// Creates a pattern.
  public init(role: String, content: TextPattern) {
    self.role = role
    self.content = content
  }
}

extension RowSource {
  /// These rows after a step.
  /// - Parameter tokenizer: renders messages for `applyChatTemplate`.
  /// - Throws: `SwiftletError` when the step does not fit the rows; what goes wrong in one row is thrown when it is read,
  ///   except by `filter`, which reads them all.
  public func applying(_ step: RowStep, tokenizer: RowTokenizer? = nil) throws(SwiftletError) -> any RowSource {
    switch step {
    case .select(let range): return SelectedRows(self, Array(range.clamped(to: 0..<count)))
    case .shuffle(let seed):
      var random = NumPyRandom(seed: seed)
      return SelectedRows(self, random.permutation(count))
    case .split(let split): return try split.part(of: self)
    case .filter(let column, let wanted): return try filtered(column, wanted)
    case .selectColumns(let columns):
      return mapped(step) { row throws(SwiftletError) in
        var result = Row()
        for column in columns { result[column] = try row.existing(column) }
        return result
      }
    case .removeColumns(let columns):
      return mapped(step) { row throws(SwiftletError) in
        var result = row
        for column in columns {
          _ = try row.existing(column)
          result[column] = nil
        }
        return result
      }
    case .renameColumns(let renamings): return mapped(step) { row throws(SwiftletError) in try row.renamed(renamings) }
    case .template(let column, let pattern):
      return mapped(step) { row throws(SwiftletError) in
        var result = row
        result[column] = .string(try pattern.text(row))
        return result
      }
    case .messages(let column, let messages):
      return mapped(step) { row throws(SwiftletError) in
        var result = row
        result[column] = try RowStep.messages(messages, of: row)
        return result
      }
    case .applyChatTemplate(let column): return try rendered(into: column, tokenizer)
    }
  }

  /// These rows after several steps, one after the other.
  /// - Throws: the first step's error.
  public func applying(_ steps: [RowStep], tokenizer: RowTokenizer? = nil) throws(SwiftletError) -> any RowSource {
    var rows: any RowSource = self
    for step in steps { rows = try rows.applying(step, tokenizer: tokenizer) }
    return rows
  }

  private func mapped(_ step: RowStep, _ change: @escaping @Sendable (Row) throws(SwiftletError) -> Row) -> MappedRows {
    MappedRows(self, identity: "\(step)", change)
  }

  private func rendered(into column: String, _ tokenizer: RowTokenizer?) throws(SwiftletError) -> MappedRows {
    guard let tokenizer, tokenizer.render != nil else {
      throw SwiftletError.data(
        "apply_chat_template needs a chat template, but the model has none; set chat_template_path")
    }
    let encoder = RowEncoder(tokenizer: tokenizer, options: PreparationOptions())
    let identity = tokenizer.identity?().map { "apply_chat_template \(column) \($0)" }
    return MappedRows(self, identity: identity) { row throws(SwiftletError) in
      var result = row
      result[column] = .string(try encoder.renderedMessages(row))
      // With messages still there the row would be taken for a conversation and rendered again.
      for used in ["messages", "conversations"] where used != column { result[used] = nil }
      return result
    }
  }

  private func filtered(_ column: String, _ wanted: JSONValue?) throws(SwiftletError) -> SelectedRows {
    let path = columnPath(column)
    let kept = try OrderedWork.map(rows: 0..<count, stretch: 256) { stretch throws(SwiftletError) in
      var kept: [Int] = []
      for index in stretch {
        guard let value = try row(at: index).value(at: path) else { continue }
        if let wanted { if value == wanted { kept.append(index) } } else if !value.isNull { kept.append(index) }
      }
      return kept
    }
    return SelectedRows(self, kept.flatMap(\.self))
  }
}

extension RowStep {
  fileprivate static func messages(_ messages: [MessagePattern], of row: Row) throws(SwiftletError) -> JSONValue {
    var list: [JSONValue] = []
    for message in messages {
      let content = try message.content.text(row)
      list.append(.object(JSONObject([("role", .string(message.role)), ("content", .string(content))])))
    }
    return .array(list)
  }
}

extension JSONObject {
  fileprivate func existing(_ column: String) throws(SwiftletError) -> JSONValue {
    guard let value = self[column] else {
      throw SwiftletError.data("the row has no such column; it has \(columnList)", column: column)
    }
    return value
  }

  fileprivate func renamed(_ renamings: [RowStep.Renaming]) throws(SwiftletError) -> JSONObject {
    var names: [(String, JSONValue)] = []
    for renaming in renamings { _ = try existing(renaming.old) }
    var taken = JSONObject()
    for member in members {
      // By bytes: two names that Swift holds equal, as composed and decomposed accents, are two columns.
      let new = renamings.first { Array($0.old.utf8) == Array(member.key.utf8) }?.new ?? member.key
      if taken[new] != nil {
        throw SwiftletError.data(
          "renaming gives two columns this name; remove one with remove_columns first", column: new)
      }
      taken[new] = .null
      names.append((new, member.value))
    }
    return JSONObject(names)
  }
}
