import OrderedJSON

/// Where the figures of a run go beside `trainer_state.json`: transformers' `report_to`.
public enum ReportDestination: String, Sendable, CaseIterable {
  /// An event file that TensorBoard reads.
  case tensorboard
  /// `log.jsonl` in the output folder, a line for each log.
  case jsonl
}

/// `report_to` as recipes spell it: one destination, a list, `all` or `none`.
struct RecipeReports: RecipeConvertible {
  static var expectation: String { "tensorboard, jsonl, a list of them, all or none" }
  var destinations: [ReportDestination]

  init(_ destinations: [ReportDestination]) { self.destinations = destinations }

  init(_ value: RecipeValue) throws(RecipeValueError) {
    destinations = []
    let words = try [String](value).map { $0.lowercased() }
    for word in words {
      if let destination = ReportDestination(rawValue: word) {
        if !destinations.contains(destination) { destinations.append(destination) }
      } else if word == "all", words.count == 1 {
        destinations = ReportDestination.allCases
      } else if !["none", "no", "false", ""].contains(word) || words.count > 1 {
        throw RecipeValueError(
          reason: "cannot be \"\(word)\" but \(Self.expectation); figures are in trainer_state.json all the same")
      }
    }
  }

  var json: JSONValue {
    switch destinations.count {
    case 0: "none"
    case 1: .string(destinations[0].rawValue)
    default: .array(destinations.map { .string($0.rawValue) })
    }
  }
}

extension TrainingArguments {
  /// `report_to` as the recipe spells it.
  var recipeReports: RecipeReports {
    get { RecipeReports(reportTo) }
    set { reportTo = newValue.destinations }
  }
}
