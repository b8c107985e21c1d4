/// Splits a text into pieces, given its matches and a `SplitBehavior`.
struct SplitJoiner {
  private let behavior: PreTokenizer.SplitBehavior
  private let end: Int
  /// Whether the text between the matches counts as matched and the matches do not (`invert`).
  private let inverted: Bool
  /// The end of the text processed so far.
  private var done: Int
  /// A piece that may still grow, and whether it is a match.
  private var held: Range<Int>?
  private var heldIsMatch = false

  init(_ behavior: PreTokenizer.SplitBehavior, _ range: Range<Int>, inverted: Bool = false) {
    self.behavior = behavior
    self.inverted = inverted
    done = range.lowerBound
    end = range.upperBound
  }

  /// Processes the next match.
  @inline(__always)
  mutating func match(_ match: Range<Int>, _ body: (Range<Int>) -> Void) {
    if done < match.lowerBound { add(done..<match.lowerBound, isMatch: inverted, body) }
    add(match, isMatch: !inverted, body)
    done = match.upperBound
  }

  /// Processes the end of the text.
  @inline(__always)
  mutating func finish(_ body: (Range<Int>) -> Void) {
    if done < end { add(done..<end, isMatch: inverted, body) }
    flush(body)
  }

  private mutating func add(_ piece: Range<Int>, isMatch: Bool, _ body: (Range<Int>) -> Void) {
    switch behavior {
    case .removed: if !isMatch { body(piece) }
    case .isolated: body(piece)
    case .contiguous: join(piece, isMatch, when: heldIsMatch == isMatch, body)
    case .mergedWithPrevious: join(piece, isMatch, when: isMatch && !heldIsMatch, body)
    case .mergedWithNext: join(piece, isMatch, when: !isMatch && heldIsMatch, body)
    }
  }

  private mutating func join(_ piece: Range<Int>, _ isMatch: Bool, when joins: Bool, _ body: (Range<Int>) -> Void) {
    if joins, let start = held?.lowerBound {
      held = start..<piece.upperBound
    } else {
      flush(body)
      held = piece
    }
    heldIsMatch = isMatch
  }

  private mutating func flush(_ body: (Range<Int>) -> Void) {
    if let held { body(held) }
    held = nil
  }
}
