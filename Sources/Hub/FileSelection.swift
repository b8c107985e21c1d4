import Diagnostics

/// Which files of a repository to download.
public struct FileSelection: Sendable {
  private let choose: @Sendable ([String], RepositoryID) throws(SwiftletError) -> [String]
  /// What a snapshot of unknown origin lacks. Without it, that can't be told.
  private var lack: (@Sendable (Set<String>) -> String?)?
  /// Whether the shards that the weight index lists are part of the selection.
  private var includesShards = false

  private init(_ choose: @escaping @Sendable ([String], RepositoryID) throws(SwiftletError) -> [String]) {
    self.choose = choose
  }

  /// The files to download out of those the repository lists. Shards of the weights are not among them; see `index`.
  func chosen(of names: [String], in repository: RepositoryID) throws(SwiftletError) -> [String] {
    let chosen = try choose(names, repository)
    if chosen.isEmpty {
      throw SwiftletError.hub("\(repository)", "the repository has no matching files; check its name and its files")
    }
    return chosen
  }

  /// The weight index among the chosen files; the shards it lists have to be downloaded as well.
  func index(of chosen: [String]) -> String? {
    includesShards && chosen.contains(Self.weightIndex) ? Self.weightIndex : nil
  }

  /// What the files of a snapshot lack to be complete, judged by their names alone.
  func gap(in names: Set<String>) -> SnapshotGap {
    guard let lack else { return .unknown }
    return lack(names).map { .missing($0) } ?? .none
  }

  private static let weightIndex = "model.safetensors.index.json"

  /// Everything needed to run and train a model: configuration, tokenizer, chat template and safetensors weights, or
  /// one GGUF file. Skips copies of the weights in other formats.
  /// - Parameter gguf: the name of a GGUF file, or a part of it such as `Q4_K_M`.
  public static func model(gguf: String? = nil) -> FileSelection {
    var selection = FileSelection { (names, repository) throws(SwiftletError) in
      let weights = try modelWeights(names, gguf: gguf, repository)
      return names.filter { weights.contains($0) || isModelDescription($0) }
    }
    selection.includesShards = true
    selection.lack = { names in
      if let gguf { return hasGGUF(names, like: gguf) ? nil : "a GGUF file like \(gguf.quotedExcerpt)" }
      if hasGGUF(names), !names.contains("config.json") { return nil }
      guard hasWeights(names) else { return "the weights" }
      return lackingDescription(names)
    }
    return selection
  }

  /// A model's configuration, tokenizer and chat template, without its weights; of a GGUF repository, one GGUF file,
  /// which contains all of them.
  public static let modelDescription: FileSelection = {
    var selection = FileSelection { (names, repository) throws(SwiftletError) in
      let description = names.filter(isModelDescription)
      if description.contains("config.json") { return description }
      return try ggufFile(names, nil, repository).map { description + [$0] } ?? description
    }
    selection.lack = { names in
      hasGGUF(names) && !names.contains("config.json") ? nil : lackingDescription(names)
    }
    return selection
  }()

  private static func hasGGUF(_ names: Set<String>, like part: String = "") -> Bool {
    names.contains { name in
      let name = name.lowercased()
      return name.hasSuffix(".gguf") && (part.isEmpty || name.contains(part.lowercased()))
    }
  }

  private static func hasWeights(_ names: Set<String>) -> Bool {
    names.contains { $0.hasSuffix(".safetensors") && !$0.contains("/") }
  }

  private static func lackingDescription(_ names: Set<String>) -> String? {
    if names.contains("adapter_config.json") { return nil }
    guard names.contains("config.json") else { return "config.json" }
    let isTokenizer = { ["tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model"].contains($0) }
    return names.contains(where: isTokenizer) ? nil : "the tokenizer"
  }

  /// The data files of a dataset in supported formats, and its card.
  public static let dataset = FileSelection { (names, _) in
    names.filter { name in
      let name = name.lowercased()
      let packing = [".gz", ".zst"].first { name.hasSuffix($0) }
      let plain = String(name.dropLast(packing?.count ?? 0))
      return name == "readme.md"
        || [".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".arrow"].contains { plain.hasSuffix($0) }
    }
  }

  /// Files whose path matches one of the patterns. `*` matches any characters, `?` matches one.
  public static func matching(_ patterns: [String]) -> FileSelection {
    FileSelection { (names, _) in
      names.filter { name in patterns.contains { matches(Array(name.utf8), pattern: Array($0.utf8)) } }
    }
  }

  /// Every file of the repository, whatever its format.
  public static let everything = FileSelection { (names, _) in names }

  private static func isModelDescription(_ name: String) -> Bool {
    if name.hasPrefix("additional_chat_templates/"), name.hasSuffix(".jinja") { return true }
    if name.contains("/") || name.hasSuffix(".index.json") { return false }
    return name.hasSuffix(".json") || name.hasSuffix(".jinja")
      || ["merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"].contains(name)
  }

  private static func modelWeights(
    _ names: [String], gguf: String?, _ repository: RepositoryID
  ) throws(SwiftletError) -> Set<String> {
    let top = names.filter { !$0.contains("/") }
    if gguf == nil {
      if top.contains("model.safetensors") { return ["model.safetensors"] }
      // The index lists the shards, whatever their names.
      if top.contains(weightIndex) { return [weightIndex] }
      let others = top.filter { $0.hasSuffix(".safetensors") }
      if !others.isEmpty { return Set(others) }
    }
    if let file = try ggufFile(names, gguf, repository) { return [file] }
    guard top.contains(where: { $0.hasSuffix(".bin") || $0.hasSuffix(".pt") || $0.hasSuffix(".pth") }) else {
      return []
    }
    throw SwiftletError.hub(
      "\(repository)",
      "the weights are only available as pickled .bin files, which can run arbitrary code; convert them to safetensors"
    )
  }

  /// The GGUF file to use of several, as chosen for a download; `nil` if none is complete.
  package static func preferredGGUF(of names: [String]) -> String? {
    let whole = names.filter {
      let name = $0.lowercased()
      return name.hasSuffix(".gguf") && !name.contains("mmproj") && !name.contains("-of-0")
    }.sorted()
    for type in preferredTypes {
      if let file = whole.first(where: { $0.lowercased().contains(type) }) { return file }
    }
    return whole.first
  }

  private static let preferredTypes = ["q4_k_m", "q8_0", "q4_0", "q5_k_m", "q6_k", "bf16", "f16"]

  /// The requested GGUF file, or the one that usually balances size and quality best.
  private static func ggufFile(
    _ names: [String], _ wanted: String?, _ repository: RepositoryID
  ) throws(SwiftletError) -> String? {
    let isPart = { (name: String) in name.contains("-of-0") }
    let files = names.filter { $0.lowercased().hasSuffix(".gguf") && !$0.lowercased().contains("mmproj") }
    let whole = files.filter { !isPart($0) }.sorted()
    guard let wanted else {
      if let file = preferredGGUF(of: files) { return file }
      if whole.isEmpty, !files.isEmpty {
        throw SwiftletError.hub(
          "\(repository)", "the GGUF files are split into parts, which is not supported; choose another repository")
      }
      return nil
    }
    if let file = whole.first(where: { $0 == wanted }) { return file }
    let similar = whole.filter { $0.lowercased().contains(wanted.lowercased()) }
    guard let file = similar.min(by: { $0.utf8.count < $1.utf8.count }) else {
      let offered =
        whole.isEmpty ? "the repository has none" : "choose one of " + whole.prefix(20).joined(separator: ", ")
      throw SwiftletError.hub(
        "\(repository)", "no GGUF file matches \(wanted.quotedExcerpt); \(offered.escapedLine(limit: 200))")
    }
    return file
  }

  /// Backtracks only to the last star, so matching takes quadratic time at most.
  private static func matches(_ name: [UInt8], pattern: [UInt8]) -> Bool {
    var (n, p) = (0, 0)
    var star: (p: Int, n: Int)?
    while n < name.count {
      if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
        star = (p, n)
        p += 1
      } else if p < pattern.count, pattern[p] == UInt8(ascii: "?") || pattern[p] == name[n] {
        (n, p) = (n + 1, p + 1)
      } else if let back = star {
        (n, p) = (back.n + 1, back.p + 1)
        star = (back.p, back.n + 1)
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
  }
}

/// What a snapshot in the cache lacks.
enum SnapshotGap: Sendable, Hashable {
  case none
  case missing(String)
  case unknown
}
