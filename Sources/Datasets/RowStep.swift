import ChatTemplates
import Diagnostics
import OrderedJSON

/// A step that turns rows into other rows before they are tokenized. Recipes list steps in order.
///
/// In patterns, `{name}` stands for a column, `{a.b}` for a member of a column, and `{{` and `}}` for braces.
public enum RowStep: Sendable, Hashable {
  /// Keeps a range of rows, clamped to the rows that exist.
  case select(Range<Int>)
  /// Keeps rows whose column is present and not null, or equal to `equals` if that is given. Dots separate the names of
  /// nested columns.
  case filter(column: String, equals: JSONValue?)
  /// Keeps only these columns, in this order. All of them must exist.
  case selectColumns([String])
  /// Renames columns, all at once.
  case renameColumns([Renaming])
  /// Removes these columns. All of them must exist.
  case removeColumns([String])
  /// Adds a column of text built from other columns.
  case template(column: String, TextPattern)
  /// Adds a column of messages built from other columns.
  case messages(column: String, [MessagePattern])
  /// Adds a column with the `messages` column rendered by the chat template, and removes `messages`.
  case applyChatTemplate(column: String)
  /// Shuffles with NumPy's permutation, as `Dataset.shuffle(seed=...)` of `datasets` does.
  case shuffle(seed: UInt64)
  /// Keeps one part of `Dataset.train_test_split`.
  case split(Split)

  /// The new name of a column.
  public struct Renaming: Sendable, Hashable {
    /// The current name, which must be that of a column.
    public var old: String
    /// The new name, which no other column may have.
    public var new: String

    /// Creates a renaming of the column `old` to `new`.
    public init(_ old: String, _ new: String) {
      self.old = old
      self.new = new
    }
  }
}

/// A message whose content is built from the columns of a row.
public struct MessagePattern: Sendable, Hashable {
  /// The author: `system`, `user`, `assistant` or `tool`.
  public var role: String
  /// The pattern of the content.
  public var content: TextPattern

  /// Creates a message pattern; unlike `content`, the role contains no columns.
  public init(role: String, content: TextPattern) {
    self.role = role
    self.content = content
  }

  /// The message for a row.
  /// - Throws: `SwiftletError` naming a column that the row does not have.
  public func message(for row: Row) throws(SwiftletError) -> Message {
    Message(role: role, content: try content.text(row))
  }
}

extension RowSource {
  /// These rows after a step.
  /// - Parameter tokenizer: renders messages for `applyChatTemplate`.
  /// - Throws: `SwiftletError` if the step does not fit the rows. Errors in single rows are thrown when they are read;
  ///   `filter` reads all of them now.
  public func applying(_ step: RowStep, tokenizer: RowTokenizer? = nil) throws(SwiftletError) -> any RowSource {
    switch step {
    case .select(let range): return SelectedRows(self, Array(range.clamped(to: 0..<count)))
    case .shuffle(let seed):
      var random = NumPyRandom(seed: seed)
      return SelectedRows(self, random.permutation(count))
    case .split(let split): return try split.part(of: self)
    case .filter(let column, let wanted):
      let path = columnPath(column)
      return try filter { row in
        guard let value = row.value(at: path) else { return false }
        return wanted.map { value == $0 } ?? !value.isNull
      }
    case .applyChatTemplate(let column): return try rendered(into: column, tokenizer)
    case .selectColumns, .renameColumns, .removeColumns, .template, .messages:
      return MappedRows(self, identity: "\(step)") { row throws(SwiftletError) in try step.transform(row) }
    }
  }

  /// These rows after several steps in order.
  /// - Throws: the error of the first step that has one.
  public func applying(_ steps: [RowStep], tokenizer: RowTokenizer? = nil) throws(SwiftletError) -> any RowSource {
    var rows: any RowSource = self
    for step in steps { rows = try rows.applying(step, tokenizer: tokenizer) }
    return rows
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
      // A row that still had messages would be recognized as a conversation and rendered again.
      for used in ["messages", "conversations"] where used != column { result[used] = nil }
      return result
    }
  }
}

extension RowStep {
  /// The row after a step that changes columns; other steps return it unchanged.
  fileprivate func transform(_ row: Row) throws(SwiftletError) -> Row {
    var result = row
    switch self {
    case .selectColumns(let columns):
      result = Row()
      for column in columns { result[column] = try row.existing(column) }
    case .removeColumns(let columns):
      for column in columns {
        _ = try row.existing(column)
        result[column] = nil
      }
    case .renameColumns(let renamings): return try row.renamed(renamings)
    case .template(let column, let pattern): result[column] = .string(try pattern.text(row))
    case .messages(let column, let patterns):
      var messages: [JSONValue] = []
      for pattern in patterns { messages.append(try pattern.message(for: row).json) }
      result[column] = .array(messages)
    case .select, .filter, .applyChatTemplate, .shuffle, .split: break
    }
    return result
  }
}

extension JSONObject {
  fileprivate func renamed(_ renamings: [RowStep.Renaming]) throws(SwiftletError) -> JSONObject {
    for renaming in renamings { _ = try existing(renaming.old) }
    var members: [(String, JSONValue)] = []
    var taken = JSONObject()
    for member in self.members {
      // Compares bytes: composed and decomposed accents are two columns, although Swift holds the names equal.
      let new = renamings.first { Array($0.old.utf8) == Array(member.key.utf8) }?.new ?? member.key
      if taken[new] as JSONValue? != nil {
        throw SwiftletError.data("two columns would get this name; remove one with remove_columns first", column: new)
      }
      taken[new] = .null
      members.append((new, member.value))
    }
    return JSONObject(members)
  }
}
