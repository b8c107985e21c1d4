extension String {
  /// Values in C's format (`printf`), such as `%.3g`, independent of the locale.
  package init(cFormat format: String, _ values: any CVarArg...) { self = formatted(format, values) }
}

private func formatted(_ format: String, _ values: [any CVarArg]) -> String {
  var bytes = [CChar](repeating: 0, count: 64)
  while true {
    let length = bytes.withUnsafeMutableBufferPointer { buffer in
      withVaList(values) { vsnprintf(buffer.baseAddress, buffer.count, format, $0) }
    }
    // The length without the zero at the end, also of a text that was cut off.
    guard Int(length) >= bytes.count else {
      return String(decoding: bytes.prefix(Int(max(0, length))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    bytes = [CChar](repeating: 0, count: Int(length) + 1)
  }
}

extension StringProtocol {
  /// The text without whitespace and newlines at its ends.
  package var trimmed: String { trimmed { $0.isWhitespace } }

  /// The text without such characters at its ends.
  package func trimmed(_ isDropped: (Character) -> Bool) -> String {
    let rest = drop(while: isDropped)
    guard let last = rest.lastIndex(where: { !isDropped($0) }) else { return "" }
    return String(rest[...last])
  }
}
