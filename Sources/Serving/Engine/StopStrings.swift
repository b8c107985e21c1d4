/// Ends a streamed text at the first of some strings, which may be spread over several pieces.
package struct StopStrings {
  private let stops: [String]
  /// Text that may be the beginning of a stop string.
  private var held = ""
  /// Whether a stop string has occurred.
  package private(set) var hasStopped = false

  package init(_ stops: [String]) { self.stops = stops.filter { !$0.isEmpty } }

  /// Adds a piece of text.
  /// - Returns: what is certain not to belong to a stop string.
  package mutating func append(_ piece: String) -> String {
    guard !stops.isEmpty, !hasStopped else { return hasStopped ? "" : piece }
    held += piece
    if let stop = stops.compactMap({ held.firstRange(of: $0)?.lowerBound }).min() {
      hasStopped = true
      let text = String(held[..<stop])
      held = ""
      return text
    }
    let kept = stops.map { held.lengthOfSuffix(beginning: $0) }.max() ?? 0
    let split = held.index(held.endIndex, offsetBy: -kept)
    let text = String(held[..<split])
    held = String(held[split...])
    return text
  }

  /// The rest, at the end of the text.
  package mutating func finish() -> String {
    defer { held = "" }
    return held
  }
}

extension String {
  /// The length in characters of the longest suffix that is a proper prefix of `text`.
  func lengthOfSuffix(beginning text: String) -> Int {
    var length = min(count, text.count - 1)
    while length > 0, suffix(length) != text.prefix(length) { length -= 1 }
    return max(0, length)
  }
}
