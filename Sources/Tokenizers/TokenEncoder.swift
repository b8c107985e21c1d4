import Synchronization

/// The components of a tokenizer, in the order in which text passes through them.
struct Pipeline: Sendable {
  var normalizers: [Normalizer] = []
  var preTokenizers: [PreTokenizer] = []
  var model: TokenModel
  var postProcessor = PostProcessor()
  /// `nil` if the tokenizer has no decoder; tokens are then joined by spaces.
  var decoder: [DecoderStep]?
  var addedTokens: [AddedToken] = []
}

/// Converts text to token ids with the components of a pipeline.
struct TokenEncoder: Sendable {
  private let normalizers: [Normalizer]
  private let preTokenizers: [PreTokenizer]
  private let model: TokenModel
  private let postProcessor: PostProcessor
  /// The added tokens to match in the original text and in normalized text.
  private let rawMatcher: AddedTokenMatcher
  private let normalizedMatcher: AddedTokenMatcher
  /// Whether to split words before U+2581, which makes encoding faster; see `MergeList.resolved`.
  private let splitsBeforeMetaspace: Bool

  init(_ pipeline: Pipeline) {
    normalizers = pipeline.normalizers
    model = pipeline.model
    postProcessor = pipeline.postProcessor
    var steps = pipeline.preTokenizers
    var splits = false
    if case .bpe(let bpe) = pipeline.model {
      // A model that takes raw bytes does not need the conversion to the byte alphabet.
      if bpe.takesBytes, case .byteAlphabet? = steps.last { steps.removeLast() }
      splits =
        bpe.splitsBeforeMetaspace && !bpe.takesBytes && !bpe.options.ignoresMerges
        && bpe.options.continuingSubwordPrefix.isEmpty && bpe.options.endOfWordSuffix.isEmpty
        && bpe.vocabulary.id(of: "\u{2581}") != nil
    }
    preTokenizers = steps
    splitsBeforeMetaspace = splits
    rawMatcher = AddedTokenMatcher(pipeline.addedTokens.filter { !$0.isNormalized }.map { ($0, $0.content) })
    normalizedMatcher = AddedTokenMatcher(
      pipeline.addedTokens.filter(\.isNormalized).map { token in
        var text = TrackedText(bytes: token.content, range: 0..<token.content.count, tracks: false)
        for normalizer in pipeline.normalizers { text = normalizer.apply(text) }
        return (token, Array(text.bytes[text.range]))
      })
  }

  /// Scratch memory and a word cache, used by one encoding at a time.
  struct Workspace: Sendable {
    var symbols = Symbols()
    var cache = WordCache()
    var ids: [Int32] = []
    /// The range of original bytes of each token, if requested.
    var offsets: [Range<Int>] = []
  }

  /// Encodes `bytes`, which must be valid UTF-8, into the workspace's `ids` and, if `tracksOffsets`, its `offsets`.
  func encode(_ bytes: [UInt8], addSpecialTokens: Bool, tracksOffsets: Bool, _ workspace: inout Workspace) {
    workspace.ids = []
    workspace.offsets = []
    workspace.ids.reserveCapacity(bytes.count / 4 + 8)
    if addSpecialTokens { append(postProcessor.before, at: 0..<0, tracksOffsets, &workspace) }
    rawMatcher.forEachPart(bytes, 0..<bytes.count) { range, token in
      if let token { return append([token.id], at: range, tracksOffsets, &workspace) }
      var text = TrackedText(bytes: bytes, range: range, tracks: tracksOffsets)
      for normalizer in normalizers { text = normalizer.apply(text) }
      encode(text, isFirst: range.lowerBound == 0, &workspace)
    }
    if addSpecialTokens { append(postProcessor.after, at: bytes.count..<bytes.count, tracksOffsets, &workspace) }
  }

  private func append(_ ids: [Int32], at range: Range<Int>, _ tracks: Bool, _ workspace: inout Workspace) {
    workspace.ids += ids
    if tracks { workspace.offsets += repeatElement(range, count: ids.count) }
  }

  /// Encodes normalized text, which may contain added tokens that match after normalization.
  private func encode(_ text: TrackedText, isFirst: Bool, _ workspace: inout Workspace) {
    if normalizedMatcher.isEmpty { return encodeWords(of: text, isFirst: isFirst, &workspace) }
    normalizedMatcher.forEachPart(text.bytes, text.range) { range, token in
      if let token { return append([token.id], at: text.original(range), text.tracks, &workspace) }
      var part = text
      part.range = range
      encodeWords(of: part, isFirst: isFirst && range.lowerBound == text.range.lowerBound, &workspace)
    }
  }

  private func encodeWords(of text: TrackedText, isFirst: Bool, _ workspace: inout Workspace) {
    if preTokenizers.count == 1, case .scan(let scanner) = preTokenizers[0], !text.tracks {
      scanner.forEachWord(text.bytes, text.range) { encodeWord(text.bytes, $0, &workspace) }
      return
    }
    PreTokenizer.forEachWord(of: text, preTokenizers[...], isFirst: isFirst) { text, word in
      guard splitsBeforeMetaspace else { return encode(text, word, &workspace) }
      Self.forEachMetaspaceWord(text.bytes, word) { encode(text, $0, &workspace) }
    }
  }

  private func encode(_ text: TrackedText, _ word: Range<Int>, _ workspace: inout Workspace) {
    if !text.tracks { return encodeWord(text.bytes, word, &workspace) }
    model.encode(text.bytes, word, into: &workspace.symbols)
    workspace.ids += workspace.symbols.ids
    var start = word.lowerBound
    for length in workspace.symbols.lengths {
      let end = start + Int(length)
      workspace.offsets.append(text.original(start..<end))
      start = end
    }
  }

  @inline(__always)
  private func encodeWord(_ bytes: [UInt8], _ word: Range<Int>, _ workspace: inout Workspace) {
    guard word.count <= WordCache.maxWordLength else {
      model.encode(bytes, word, into: &workspace.symbols)
      workspace.ids += workspace.symbols.ids
      return
    }
    let key = WordCache.Key(bytes, word)
    if workspace.cache.append(key, to: &workspace.ids) { return }
    model.encode(bytes, word, into: &workspace.symbols)
    workspace.cache.insert(key, workspace.symbols.ids)
    workspace.ids += workspace.symbols.ids
  }

  /// Splits before each U+2581 that follows another character.
  private static func forEachMetaspaceWord(_ bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
    var start = range.lowerBound
    var index = start
    var endedInMetaspace = true
    while index < range.upperBound {
      if bytes[index] == 0xE2, index + 2 < range.upperBound, bytes[index + 1] == 0x96, bytes[index + 2] == 0x81 {
        if !endedInMetaspace {
          body(start..<index)
          start = index
        }
        endedInMetaspace = true
        index += 3
      } else {
        endedInMetaspace = false
        index += 1
      }
    }
    if start < range.upperBound { body(start..<range.upperBound) }
  }
}

/// Workspaces that are not in use, so that threads can encode in parallel.
final class WorkspacePool: Sendable {
  private let free = Mutex<[TokenEncoder.Workspace]>([])

  func take() -> TokenEncoder.Workspace { free.withLock { $0.popLast() } ?? TokenEncoder.Workspace() }

  func give(_ workspace: consuming TokenEncoder.Workspace) {
    let workspace = workspace
    free.withLock { if $0.count < 16 { $0.append(workspace) } }
  }
}
