import OrderedJSON

/// One thing done to rows, in the order of the recipe.
///
/// Wherever text is made of columns, `{name}` stands for a column, `{a.b}` for a member of one, `{{` and `}}` for braces.
public enum DatasetStep: Sendable, Hashable {
  /// Keep `count` rows from `start` on (`select: 1500`, or `select: {start: 100, count: 50}`).
  case select(start: Int, count: Int)
  /// Keep the rows that meet the condition (`filter: {column: lang, equals: yue}`).
  case filter(RowCondition)
  /// Rename columns (`rename_columns: {sentence: prompt, translation: completion}`).
  case renameColumns([ColumnRename])
  /// Drop columns (`remove_columns: [translation_extra]`).
  case removeColumns([String])
  /// Keep only these columns, in this order (`select_columns: [prompt, completion]`).
  case selectColumns([String])
  /// Fill a column from a pattern (`template: "Q: {Question}"`, or `template: {to: prompt, text: ...}`).
  case template(to: String, text: String)
  /// Fill a column with messages, each made from a pattern (`messages: [{role: user, content: "{zh}"}]`).
  case messages(to: String, [MessagePattern])
  /// Fill a text column by rendering the `messages` column with the chat template (`apply_chat_template: text`).
  case applyChatTemplate(to: String)
  /// Shuffle as `datasets` does with this seed (`shuffle: 3407`).
  case shuffle(seed: Int)
  /// Hold rows out for evaluation, as `train_test_split` does (`split: {test_size: 0.1, seed: 42}`).
  case split(testSize: Double, seed: Int)

  /// The old and the new name of a column.
  public struct ColumnRename: Sendable, Hashable {
    /// The column as it is called before.
    public var from: String
    /// The column as it is called afterwards.
    public var to: String

    /// A renaming.
    public init(from: String, to: String) {
      self.from = from
      self.to = to
    }
  }

  /// A message whose content is a pattern.
  public struct MessagePattern: Sendable, Hashable {
    /// `system`, `user`, `assistant` or another role the chat template knows.
    public var role: String
    /// The pattern of the content.
    public var content: String

    /// A message.
    public init(role: String, content: String) {
      self.role = role
      self.content = content
    }
  }

  /// A test of one column.
  public struct RowCondition: Sendable, Hashable {
    /// The column; `a.b` for a member of one.
    public var column: String
    /// What it has to equal; `nil` for anything but null.
    public var equals: JSONValue?

    /// A condition.
    public init(column: String, equals: JSONValue? = nil) {
      self.column = column
      self.equals = equals
    }
  }
}
