import Diagnostics

extension RowProfiles {
  /// What is wrong with single rows, whatever the others are like.
  func faults() -> [Finding] {
    let hasPrompts = training.count { !$0.faults.contains(.emptyPrompt) } * 2 > training.count
    let format = usualMarkers
    var found: [Finding] = []
    for (index, row) in training.enumerated() {
      func add(_ kind: FindingKind, focus: Finding.Focus = .answerStart, _ cause: String) {
        found.append(Finding(kind, rows: [index], focus: focus, cause))
      }
      if row.faults.contains(.unreadable) {
        add(.unreadable, unusableReason(index))
        continue
      }
      if row.faults.contains(.emptyAnswer) {
        add(.empty, focus: .prompt, "the answer is empty")
      } else if hasPrompts, row.faults.contains(.emptyPrompt) {
        add(.empty, "the prompt is empty")
      }
      if row.faults.contains(.doubleEncodedArguments) {
        add(.doubleEncodedArguments, "the arguments of a tool call are a JSON string with JSON in it")
      }
      if row.faults.contains(.tooLong) { add(.truncated, focus: .answerEnd, "max_length cuts off its end") }
      let stray = row.faults.contains(.conversation) ? row.markers : row.markers & ~format
      if stray != 0 { add(.templateText, focus: .markers(stray), "the text contains tokens of a chat template") }
    }
    return found
  }

  /// The markers in at least half of the rows to which no chat template is applied: there they are the format.
  private var usualMarkers: UInt64 {
    let plain = training.filter { !$0.faults.contains(.conversation) && !$0.faults.contains(.unreadable) }
    var bits: UInt64 = 0
    for number in options.special.markers.indices {
      let count = plain.count { $0.markers & (1 << number) != 0 }
      if count > 0, count * 2 >= plain.count { bits |= 1 << number }
    }
    return bits
  }

  private func unusableReason(_ index: Int) -> String {
    do throws(SwiftletError) {
      _ = try RowText(rows.row(at: index), textField: options.textField)
      return "it cannot be used"
    } catch {
      return error.reason
    }
  }
}
