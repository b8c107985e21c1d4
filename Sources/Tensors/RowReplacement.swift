/// A few rows of an embedding or head that are trained apart from the others: PEFT's trainable tokens. Their values
/// replace the rows of the table, which stays as it is.
public struct RowReplacement {
  /// The replaced rows, each once.
  public let rows: [Int32]
  /// Their values, `[rows.count, columns]`, float32, in the order of `rows`.
  public let parameter: Parameter
  /// The place of each row in `rows`.
  private let places: [Int32: Int32]
  /// Neighboring rows: where they are in the table, and where in `parameter`.
  private let runs: [(table: Range<Int>, first: Int)]

  /// Replaces `rows`, which must be different, by those of `parameter`.
  public init(rows: [Int32], parameter: Parameter) {
    precondition(parameter.value.rows == rows.count, "there must be a value for each row")
    self.rows = rows
    self.parameter = parameter
    places = Dictionary(uniqueKeysWithValues: zip(rows, 0..<Int32(rows.count)))
    var runs: [(table: Range<Int>, first: Int)] = []
    for (place, row) in rows.enumerated() {
      if let last = runs.last, last.table.upperBound == Int(row) {
        runs[runs.count - 1].table = last.table.lowerBound..<Int(row) + 1
      } else {
        runs.append((Int(row)..<Int(row) + 1, place))
      }
    }
    self.runs = runs
  }

  /// Replaces rows of `found`, which are the rows `ids` of the table.
  func replace(in found: Tensor, _ ids: [Int32], on backend: any Backend) {
    for (index, id) in ids.enumerated() {
      guard let place = places[id] else { continue }
      backend.copyRows(Columns(parameter.value), Int(place), to: Columns(found), index, count: 1)
    }
  }

  /// Adds the rows of `upstream` that belong to replaced ids to the gradient, which is zero if there are none: moments
  /// decay in such steps too.
  func addGradient(_ upstream: Tensor, _ ids: [Int32], on backend: any Backend) {
    guard parameter.isTrainable else { return }
    let gradient = parameter.gradient(on: backend)
    let used = ids.indices.filter { places[ids[$0]] != nil }
    if used.isEmpty { return }
    backend.scatterAddRows(
      backend.gatherRows(upstream, used.map(Int32.init)), used.compactMap { places[ids[$0]] },
      into: gradient)
  }

  /// Copies the table's columns of the replaced rows between `wide`, `[n, table rows]`, and `narrow`, `[n, rows.count]`.
  private func copyColumns(_ wide: Tensor, _ narrow: Tensor, toWide: Bool, on backend: any Backend) {
    for run in runs {
      let (table, own) = (Columns(wide, run.table), Columns(narrow, run.first..<run.first + run.table.count))
      backend.copyRows(toWide ? own : table, 0, to: toWide ? table : own, 0, count: wide.rows)
    }
  }

  /// Replaces the logits of the replaced rows, given the packed hidden states.
  func replaceLogits(_ logits: Tensor, _ states: LeftOperand, on backend: any Backend) {
    let own = backend.empty([logits.rows, rows.count], .float32)
    backend.compute([Product([ProductTerm(states, parameter.value, transposed: true)], into: Columns(own))])
    copyColumns(logits, own, toWide: true, on: backend)
  }

  /// Moves the gradient of the replaced rows' logits out of `dLogits`, where it becomes zero.
  func takeGradient(_ dLogits: Tensor, on backend: any Backend) -> Tensor {
    let (own, zeros) = (
      backend.empty([dLogits.rows, rows.count], .float32), backend.empty([dLogits.rows, rows.count], .float32)
    )
    backend.clear(zeros)
    copyColumns(dLogits, own, toWide: false, on: backend)
    copyColumns(dLogits, zeros, toWide: true, on: backend)
    return own
  }
}

extension Parameter {
  /// The value in float32 with its replaced rows; `nil` if none are replaced.
  package func replacedValue(on backend: any Backend) -> Tensor? {
    guard let replacement else { return nil }
    let all = backend.converted(value, to: .float32)
    for (place, row) in replacement.rows.enumerated() {
      backend.copyRows(Columns(replacement.parameter.value), place, to: Columns(all), Int(row), count: 1)
    }
    return all
  }

  /// Whether the head's backward pass has a gradient to compute for this weight.
  var hasTrainableRows: Bool { isTrainable || replacement?.parameter.isTrainable == true }
}
