import ChatTemplates
import Datasets
import OrderedJSON
import Terminal

/// The first rows of a dataset as a table. Conversations have a column per role.
enum RowTable {
  /// More columns than fit on any terminal; a damaged file can have thousands.
  private static let maxColumns = 100

  /// - Throws: `SwiftletError` for a row that cannot be read.
  static func table(_ rows: any RowSource, count: Int) throws -> Table {
    let names = try rows.columnNames().prefix(maxColumns)
    let shown = try (0..<min(count, rows.count)).map { try rows.row(at: $0) }
    var columns: [(title: String, cells: [String])] = []
    for name in names {
      let conversations = shown.map { row in row[name].flatMap(messages) }
      if !shown.isEmpty, !conversations.contains(where: { $0 == nil }) {
        columns += roles(conversations.compactMap(\.self), of: name)
      } else {
        columns.append((name, shown.map { row in row[name].map { $0.string ?? $0.text() } ?? "" }))
      }
    }
    var table = Table(columns.map { Table.Column($0.title) })
    for index in shown.indices { table.append(columns.map { $0.cells[index] }) }
    return table
  }

  /// The number of rows, and the name and type of each column, as in "360 rows: prompt (text), score (number or null)".
  /// - Throws: `SwiftletError` for a row that cannot be read.
  static func summary(_ rows: any RowSource) throws -> String {
    let first = try (0..<min(100, rows.count)).map { try rows.row(at: $0) }
    let names = try rows.columnNames()
    let columns = names.prefix(maxColumns).map { name -> String in
      var types: [String] = []
      for row in first {
        let type = type(of: row[name] ?? .null)
        if !types.contains(type) { types.append(type) }
      }
      if let place = types.firstIndex(of: "null") { types.append(types.remove(at: place)) }
      return "\(name.printable) (\(types.joined(separator: " or ")))"
    }
    let more = names.count > maxColumns ? " and \(names.count - maxColumns) more" : ""
    return "\(rows.count) row\(rows.count == 1 ? "" : "s"): \(columns.joined(separator: ", "))\(more)"
  }

  private static func type(of value: JSONValue) -> String {
    switch value {
    case .null: return "null"
    case .bool: return "boolean"
    case .string: return "text"
    case .array(let elements):
      if messages(value) != nil { return "list of messages" }
      return elements.first.map { "list of \(type(of: $0))" } ?? "empty list"
    case .object(let object): return "object with \(object.keys.prefix(6).map(\.printable).joined(separator: ", "))"
    default: return value.integer == nil ? "number" : "integer"
    }
  }

  /// The messages in a value; `nil` if it is something else.
  private static func messages(_ value: JSONValue) -> [Message]? {
    guard let elements = value.array, !elements.isEmpty else { return nil }
    let messages = elements.compactMap { $0.object.map(Message.init) }
    return messages.count == elements.count && messages.allSatisfy { !$0.role.isEmpty } ? messages : nil
  }

  /// A column per role. Turns of a longer conversation are numbered.
  private static func roles(_ conversations: [[Message]], of column: String) -> [(title: String, cells: [String])] {
    var roles: [String] = []
    for message in conversations.joined() where !roles.contains(message.role) { roles.append(message.role) }
    // The system message comes first even if the first row has none.
    if let place = roles.firstIndex(of: "system") { roles.insert(roles.remove(at: place), at: 0) }
    return roles.map { role in
      let cells = conversations.map { messages -> String in
        let turns = messages.filter { $0.role == role }.map(text)
        guard turns.count > 1 else { return turns.first ?? "" }
        return turns.enumerated().map { "\($0 + 1). \($1)" }.joined(separator: "\n")
      }
      return (column == "messages" || column == "conversations" ? role : "\(column): \(role)", cells)
    }
  }

  /// The text of a message, or its other members as JSON, such as tool calls.
  private static func text(_ message: Message) -> String {
    if !message.content.isEmpty { return message.content }
    var rest = message.members
    rest["role"] = nil
    rest["content"] = nil
    return rest.members.isEmpty ? "" : JSONValue.object(rest).text()
  }
}
