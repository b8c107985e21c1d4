/// Which files of a repository to download.
public struct FileSelection: Sendable {
  private let choose: @Sendable ([String], RepositoryID) throws(HubError) -> [String]

  /// The files to download out of those the repository lists.
  func chosen(of names: [String], in repository: RepositoryID) throws(HubError) -> [String] {
    let chosen = try choose(names, repository)
    if chosen.isEmpty {
      throw HubError("\(repository)", "the repository has no matching files. Check its name and its files.")
    }
    return chosen
  }

  /// Everything needed to run and train a model: configuration, tokenizer, chat template and safetensors weights, or
  /// one GGUF file. Skips copies of the weights in other formats.
  /// - Parameter gguf: the name of a GGUF file, or a part of it such as `Q4_K_M`.
  public static func model(gguf: String? = nil) -> FileSelection {
    FileSelection { (names, repository) throws(HubError) in
      let weights = try modelWeights(names, gguf: gguf, repository)
      return names.filter { weights.contains($0) || isModelDescription($0) }
    }
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
  ) throws(HubError) -> Set<String> {
    let top = names.filter { !$0.contains("/") }
    let index = "model.safetensors.index.json"
    if gguf == nil {
      if top.contains("model.safetensors") { return ["model.safetensors"] }
      if top.contains(index) {
        let shards = top.filter { $0.hasPrefix("model-") && $0.hasSuffix(".safetensors") }
        return Set(shards + [index])
      }
      let others = top.filter { $0.hasSuffix(".safetensors") }
      if !others.isEmpty { return Set(others) }
    }
    if let file = try ggufFile(names, gguf, repository) { return [file] }
    guard top.contains(where: { $0.hasSuffix(".bin") || $0.hasSuffix(".pt") || $0.hasSuffix(".pth") }) else {
      return []
    }
    throw HubError(
      "\(repository)",
      "the weights are only available as pickled .bin files, which can run arbitrary code. Convert them to safetensors."
    )
  }

  /// The requested GGUF file, or the one that usually balances size and quality best.
  private static func ggufFile(
    _ names: [String], _ wanted: String?, _ repository: RepositoryID
  ) throws(HubError) -> String? {
    let isPart = { (name: String) in name.contains("-of-0") }
    let files = names.filter { $0.lowercased().hasSuffix(".gguf") && !$0.lowercased().contains("mmproj") }
    let whole = files.filter { !isPart($0) }.sorted()
    guard let wanted else {
      for type in ["q4_k_m", "q8_0", "q4_0", "q5_k_m", "q6_k", "bf16", "f16"] {
        if let file = whole.first(where: { $0.lowercased().contains(type) }) { return file }
      }
      if whole.isEmpty, !files.isEmpty {
        throw HubError(
          "\(repository)", "the GGUF files are split into parts, which is not supported. Choose another repository.")
      }
      return whole.first
    }
    if let file = whole.first(where: { $0 == wanted }) { return file }
    let similar = whole.filter { $0.lowercased().contains(wanted.lowercased()) }
    guard let file = similar.min(by: { $0.utf8.count < $1.utf8.count }) else {
      let offered =
        whole.isEmpty ? "The repository has none." : "Choose one of " + whole.prefix(20).joined(separator: ", ")
      throw HubError("\(repository)", "no GGUF file matches \"\(excerpt(wanted))\". \(excerpt(offered))")
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
