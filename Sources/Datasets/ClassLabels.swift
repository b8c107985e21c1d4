import Diagnostics
import OrderedJSON

/// The labels of a classification dataset, in the order of their numbers.
public struct ClassLabels: Sendable, Hashable, Codable {
  /// The names of the labels.
  public let names: [String]
  private let numbers: [[UInt8]: Int]

  /// The column with the label.
  package static let column = "label"
  /// More labels than any classifier has: the head has a row for each.
  private static let most = 100_000

  /// Labels with these names, which must differ.
  public init(_ names: [String]) {
    self.names = names
    numbers = Dictionary(names.enumerated().map { (Array($1.utf8), $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Finds the labels of rows: names in the order of their bytes, as Python sorts them, or the numbers from 0 to the
  /// largest.
  /// - Parameters:
  ///   - count: the number of labels, if the rows may not have all of them; `nil` for as many as they have.
  ///   - namesOfNumbers: the names of that many labels that the rows only number.
  /// - Throws: `SwiftletError` for a row whose label is missing or not that of one class.
  package init(
    of rows: any RowSource, count: Int? = nil, namesOfNumbers: (Int) -> [String]
  ) throws(SwiftletError) {
    var names: Set<[UInt8]> = []
    var largest = -1
    for index in 0..<rows.count {
      let row = try rows.row(at: index)
      do throws(SwiftletError) {
        switch try Self.label(row) {
        case .name(let name): names.insert(Array(name.utf8))
        case .number(let number): largest = max(largest, number)
        }
        if !names.isEmpty, largest >= 0 {
          throw SwiftletError.data("some labels are names and some numbers; use only one kind", column: Self.column)
        }
      } catch {
        throw error.located(at: rows.location(of: index))
      }
    }
    let found = largest + 1 + names.count
    if let count, found > count {
      throw SwiftletError.data("the rows have \(found) labels, but num_labels is \(count); raise it, or leave it out")
    }
    guard count ?? found > 1 else {
      throw SwiftletError.data(
        "all rows have the same label, so there is nothing to tell apart; add rows of other labels")
    }
    if let count, !names.isEmpty, found < count {
      throw SwiftletError.data(
        "the rows name \(found) labels, but num_labels is \(count); name all of them with id2label")
    }
    self.init(
      names.isEmpty
        ? namesOfNumbers(count ?? found)
        : names.sorted { $0.lexicographicallyPrecedes($1) }.map { String(decoding: $0, as: UTF8.self) })
  }

  private enum Label {
    case name(String)
    case number(Int)
  }

  /// A row's label as it is written.
  private static func label(_ row: Row) throws(SwiftletError) -> Label {
    guard let value = row.present(column) else {
      throw SwiftletError.data("the row needs a \"label\": a name, or a number from 0", column: column)
    }
    switch value {
    case .string(let name): return .name(name)
    case .bool(let flag): return .number(flag ? 1 : 0)
    case .array:
      throw SwiftletError.data(
        "a list of labels (multi_label_classification) is not supported; give each row one label", column: column)
    default: break
    }
    if let number = value.integer {
      guard (0..<most).contains(number) else {
        throw SwiftletError.data(
          "the label \(number) is not from 0 to \(most - 1); number labels from 0", column: column)
      }
      return .number(number)
    }
    guard value.double == nil else {
      throw SwiftletError.data(
        "a fraction as label (regression) is not supported; give names, or numbers from 0", column: column)
    }
    throw RowFormat.wrongKind(value, "a name or a number", column)
  }

  /// The number of a row's label.
  /// - Throws: `SwiftletError` if the row has no label, or one that is not among these.
  package func number(of row: Row) throws(SwiftletError) -> Int {
    switch try Self.label(row) {
    case .name(let name):
      if let number = numbers[Array(name.utf8)] { return number }
      let known = names.prefix(8).map(\.quotedExcerpt).joined(separator: ", ") + (names.count > 8 ? ", ..." : "")
      throw SwiftletError.data(
        "the label \(name.quotedExcerpt) is not one of \(known); correct it, or name all labels with id2label",
        column: Self.column)
    case .number(let number):
      guard names.indices.contains(number) else {
        throw SwiftletError.data(
          "the label \(number) is not from 0 to \(names.count - 1); set num_labels to the number of labels",
          column: Self.column)
      }
      return number
    }
  }
}
