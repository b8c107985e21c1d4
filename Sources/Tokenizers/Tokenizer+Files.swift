extension Tokenizer {
  /// The bytes of all files the tokenizer was made of, one after the other: what tells it from any other.
  package var fileBytes: [UInt8] { files.contents.flatMap { Array($0.name.utf8) + [0] + $0.bytes } }
}
