/// A text, original or normalized, that maps each byte to the original text.
struct TrackedText: Sendable {
  /// Valid UTF-8.
  var bytes: [UInt8]
  /// The part of `bytes` that belongs to this text.
  var range: Range<Int>
  /// For each byte of `bytes`, the range of original bytes it came from; `nil` if each byte came from the one at the
  /// same position plus `shift`.
  var origins: [Origin]?
  /// The offset from a position in `bytes` to the original. Unused if there are `origins`.
  var shift = 0
  /// Whether to maintain `origins`, which makes changes more expensive.
  let tracks: Bool

  /// A range of the original text.
  struct Origin: Sendable, Hashable {
    var start: Int32
    var end: Int32
  }

  init(bytes: [UInt8], range: Range<Int>, tracks: Bool) {
    self.bytes = bytes
    self.range = range
    self.tracks = tracks
  }

  var isEmpty: Bool { range.isEmpty }

  /// The range of original bytes that `part` of `bytes` came from.
  func original(_ part: Range<Int>) -> Range<Int> {
    guard let origins else { return part.lowerBound + shift..<part.upperBound + shift }
    if part.isEmpty {
      let at = part.lowerBound < origins.count ? Int(origins[part.lowerBound].start) : Int(origins.last?.end ?? 0)
      return at..<at
    }
    let start = Int(origins[part.lowerBound].start)
    return start..<max(start, Int(origins[part.upperBound - 1].end))
  }

  /// A rewriter for this text.
  func rewriter() -> Rewriter { Rewriter(source: self) }
}

/// Builds a changed copy of a text, tracking origins if the source does.
struct Rewriter {
  let source: TrackedText
  private(set) var output: [UInt8] = []
  private var origins: [TrackedText.Origin] = []

  init(source: TrackedText) {
    self.source = source
    output.reserveCapacity(source.range.count + source.range.count / 8)
  }

  /// Copies a part of the source unchanged.
  @inline(__always)
  mutating func copy(_ part: Range<Int>) {
    output.append(contentsOf: source.bytes[part])
    guard source.tracks else { return }
    if let known = source.origins {
      origins.append(contentsOf: known[part])
    } else {
      for index in part {
        let start = Int32(truncatingIfNeeded: index + source.shift)
        origins.append(.init(start: start, end: start &+ 1))
      }
    }
  }

  /// Appends `replacement` in place of a part of the source. An empty part inserts it.
  @inline(__always)
  mutating func replace(_ part: Range<Int>, by replacement: some Collection<UInt8>) {
    output.append(contentsOf: replacement)
    guard source.tracks else { return }
    let range = source.original(part)
    let origin = TrackedText.Origin(
      start: Int32(truncatingIfNeeded: range.lowerBound), end: Int32(truncatingIfNeeded: range.upperBound))
    origins.append(contentsOf: repeatElement(origin, count: replacement.count))
  }

  /// The changed text.
  func finish() -> TrackedText {
    var text = TrackedText(bytes: output, range: 0..<output.count, tracks: source.tracks)
    if source.tracks { text.origins = origins }
    return text
  }
}
