import ChatTemplates
import Diagnostics
import OrderedJSON

extension RowSource {
  /// These rows, each transformed when it is read.
  ///
  /// ```swift
  /// let upper = rows.map { row in ["text": .string(try row["text"].uppercased())] }
  /// ```
  /// - Parameter transform: makes a new row. Errors it throws are reported with the location of the row.
  public func map(_ transform: @escaping @Sendable (Row) throws -> Row) -> MappedRows {
    MappedRows(self) { row throws(SwiftletError) in try Self.call { try transform(row) } }
  }

  /// These rows as conversations: each becomes a row with the single column `messages`.
  ///
  /// ```swift
  /// let chats = rows.map { row in [.user(try row["sentence"]), .assistant(try row["translation"])] }
  /// ```
  /// - Parameter transform: makes the messages. Errors it throws are reported with the location of the row.
  public func map(_ transform: @escaping @Sendable (Row) throws -> [Message]) -> MappedRows {
    MappedRows(self) { row throws(SwiftletError) in
      let messages = try Self.call { try transform(row) }
      return ["messages": .array(messages.map(\.json))]
    }
  }

  /// The rows for which `isIncluded` is true. Reads all rows.
  /// - Throws: `SwiftletError` with the location of the first row that cannot be read or for which `isIncluded` throws.
  public func filter(_ isIncluded: @Sendable (Row) throws -> Bool) throws(SwiftletError) -> SelectedRows {
    let kept = try Parallel.map(rows: 0..<count, chunkSize: 256) { chunk throws(SwiftletError) in
      var kept: [Int] = []
      for index in chunk {
        let row = try row(at: index)
        do throws(SwiftletError) {
          if try Self.call({ try isIncluded(row) }) { kept.append(index) }
        } catch {
          throw error.located(at: location(of: index))
        }
      }
      return kept
    }
    return SelectedRows(self, kept.flatMap(\.self))
  }

  /// Turns any error of a caller's closure into a `SwiftletError`.
  private static func call<Value>(_ body: () throws -> Value) throws(SwiftletError) -> Value {
    do {
      return try body()
    } catch {
      throw error as? SwiftletError ?? SwiftletError.data("\(error)")
    }
  }
}

extension JSONObject {
  /// The text of a column.
  /// - Throws: `SwiftletError` if the column is missing or not a string.
  @_disfavoredOverload
  public subscript(column: String) -> String {
    get throws(SwiftletError) { try value(of: column, "a string", \.string) }
  }

  /// The integer of a column.
  /// - Throws: `SwiftletError` if the column is missing or not an integer.
  @_disfavoredOverload
  public subscript(column: String) -> Int {
    get throws(SwiftletError) { try value(of: column, "an integer", \.integer) }
  }

  /// The number of a column.
  /// - Throws: `SwiftletError` if the column is missing or not a number.
  @_disfavoredOverload
  public subscript(column: String) -> Double {
    get throws(SwiftletError) { try value(of: column, "a number", \.double) }
  }

  /// The boolean of a column.
  /// - Throws: `SwiftletError` if the column is missing or not a boolean.
  @_disfavoredOverload
  public subscript(column: String) -> Bool {
    get throws(SwiftletError) { try value(of: column, "a boolean", \.bool) }
  }

  private func value<Value>(
    of column: String, _ expected: String, _ path: KeyPath<JSONValue, Value?>
  ) throws(SwiftletError) -> Value {
    let found = try existing(column)
    guard let value = found[keyPath: path] else { throw RowFormat.wrongKind(found, expected, column) }
    return value
  }

  /// The value of a column.
  /// - Throws: `SwiftletError` with the columns of the row if there is no such column.
  func existing(_ column: String) throws(SwiftletError) -> JSONValue {
    guard let value = self[column] as JSONValue? else {
      throw SwiftletError.data("the row has no such column; its columns are \(columnList)", column: column)
    }
    return value
  }
}
