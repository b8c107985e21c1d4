/// Special tokens and fixed parts of chat templates, searched for in the text of rows.
public struct SpecialText: Sendable {
  /// The texts to search for; their numbers are the bits of `found(in:)`.
  let markers: [String]
  /// The bytes and numbers of the markers by their first byte.
  private let byFirstByte: [UInt8: [(bytes: [UInt8], number: Int)]]

  /// What the common chat templates consist of.
  private static let common = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>", "<|end_of_text|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
    "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]",
    "<|channel|>", "<|message|>", "<|return|>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>",
    "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "### Instruction:", "### Response:",
  ]

  /// What rows may well contain.
  private static let allowed = [
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>",
  ]

  /// - Parameter specialTokens: those of the model's tokenizer.
  public init(specialTokens: [String] = []) {
    var markers = Self.common
    for token in specialTokens where token.utf8.count > 2 && markers.count < 64 {
      if !markers.contains(token), !Self.allowed.contains(token) { markers.append(token) }
    }
    self.markers = markers
    var byFirstByte: [UInt8: [(bytes: [UInt8], number: Int)]] = [:]
    for (number, marker) in markers.enumerated() {
      let bytes = Array(marker.utf8)
      byFirstByte[bytes[0], default: []].append((bytes, number))
    }
    self.byFirstByte = byFirstByte
  }

  /// The markers in a text, one bit each.
  func found(in text: String) -> UInt64 {
    var bits: UInt64 = 0
    let utf8 = text.utf8
    var index = utf8.startIndex
    while index < utf8.endIndex {
      let byte = utf8[index]
      // Markers begin with "<", "[" or "#"; those of a tokenizer may begin with anything.
      if byte < 0x41 || byte == UInt8(ascii: "[") || byte > 0x7A, let candidates = byFirstByte[byte] {
        for candidate in candidates where bits & (1 << candidate.number) == 0 {
          if utf8[index...].starts(with: candidate.bytes) { bits |= 1 << candidate.number }
        }
      }
      index = utf8.index(after: index)
    }
    return bits
  }

  /// The first marker of a set of bits that is in the text, and its place.
  func place(of bits: UInt64, in text: String) -> (marker: String, index: String.Index)? {
    var first: (marker: String, index: String.Index)?
    for (number, marker) in markers.enumerated() where bits & (1 << number) != 0 {
      guard let range = text.places(ofBytes: marker).first else { continue }
      if first.map({ range.lowerBound < $0.index }) ?? true { first = (marker, range.lowerBound) }
    }
    return first
  }
}
