import Synchronization

/// The stages between text and tokens, in the order in which text passes them.
struct Pipeline: Sendable {
  var normalizers: [Normalizer] = []
  var preTokenizers: [PreTokenizer] = []
  var model: Model
  var postProcessor = PostProcessor()
  /// `nil` where there is no decoder at all: tokens are then joined by spaces.
  var decoder: [DecoderStep]?
  var addedTokens: [AddedToken] = []
}

/// Turns text into tokens by the stages of a pipeline.
struct Encoder: Sendable {
  private let normalizers: [Normalizer]
  private let preTokenizers: [PreTokenizer]
  private let model: Model
  private let postProcessor: PostProcessor
  /// The added tokens found in text as it stands, and those found in normalized text.
  private let rawMatcher: AddedTokenMatcher
  private let normalizedMatcher: AddedTokenMatcher
  /// Whether words are split before U+2581, which changes no token; see `MergeList.resolved`.
  private let splitsBeforeMetaspace: Bool

  init(_ pipeline: Pipeline) {
    normalizers = pipeline.normalizers
    model = pipeline.model
    postProcessor = pipeline.postProcessor
    var steps = pipeline.preTokenizers
    var splits = false
    if case .bpe(let bpe) = pipeline.model {
      // The model takes bytes themselves where they would only be spelled for it.
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

  /// What one encoding at a time needs: memory to work in, and the words met before.
  struct Workspace: Sendable {
    var symbols = Symbols()
    var cache = WordCache()
    var ids: [Int32] = []
    /// The original bytes of each token; kept only when asked for.
    var offsets: [Range<Int>] = []
  }

  /// Fills the workspace's `ids`, and its `offsets` where `tracks`, for `bytes`, which must be valid UTF-8.
  func encode(_ bytes: [UInt8], addSpecialTokens: Bool, tracks: Bool, _ workspace: inout Workspace) {
    workspace.ids = []
    workspace.offsets = []
    workspace.ids.reserveCapacity(bytes.count / 4 + 8)
    if addSpecialTokens { append(postProcessor.before, at: 0..<0, tracks, &workspace) }
    rawMatcher.forEachPart(bytes, 0..<bytes.count) { range, token in
      if let token { return append([token.id], at: range, tracks, &workspace) }
      var text = TrackedText(bytes: bytes, range: range, tracks: tracks)
      for normalizer in normalizers { text = normalizer.apply(text) }
      encode(text, isFirst: range.lowerBound == 0, &workspace)
    }
    if addSpecialTokens { append(postProcessor.after, at: bytes.count..<bytes.count, tracks, &workspace) }
  }

  private func append(_ ids: [Int32], at range: Range<Int>, _ tracks: Bool, _ workspace: inout Workspace) {
    workspace.ids += ids
    if tracks { workspace.offsets += repeatElement(range, count: ids.count) }
  }

  /// Encodes normalized text between added tokens that are found before.
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
    guard word.count <= WordCache.longestWord else {
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

  /// Splits before each U+2581 that another character precedes.
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

/// Workspaces not in use, so that encodings on several threads do not wait for each other.
final class WorkspacePool: Sendable {
  private let free = Mutex<[Encoder.Workspace]>([])

  func take() -> Encoder.Workspace { free.withLock { $0.popLast() } ?? Encoder.Workspace() }

  func give(back workspace: consuming Encoder.Workspace) {
    let workspace = workspace
    free.withLock { if $0.count < 16 { $0.append(workspace) } }
  }
}
