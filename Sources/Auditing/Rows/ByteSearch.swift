extension StringProtocol {
  /// The places of a text, compared by bytes; they do not overlap.
  func places(ofBytes needle: String) -> [Range<String.Index>] {
    let bytes = Array(needle.utf8)
    guard let first = bytes.first else { return [] }
    var places: [Range<String.Index>] = []
    var start = utf8.startIndex
    while let place = utf8[start...].firstIndex(of: first) {
      if utf8[place...].starts(with: bytes) {
        start = utf8.index(place, offsetBy: bytes.count)
        places.append(place..<start)
      } else {
        start = utf8.index(after: place)
      }
    }
    return places
  }

  /// The lines that are not empty.
  var nonemptyLines: [SubSequence] {
    var lines: [SubSequence] = []
    var start = startIndex
    while start < endIndex {
      let end = utf8[start...].firstIndex(of: 10) ?? endIndex
      if start < end { lines.append(self[start..<end]) }
      start = end < endIndex ? utf8.index(after: end) : end
    }
    return lines
  }
}
