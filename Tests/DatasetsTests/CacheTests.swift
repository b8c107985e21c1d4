import Checkpoints
import Datasets
import Foundation
import OrderedJSON
import Testing
import Tokenizers

@Suite struct CacheTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private var files: [URL] {
    get throws { try FileManager.default.contentsOfDirectory(at: scratch.folder, includingPropertiesForKeys: nil) }
  }

  /// A tokenizer that fails the test when it is used.
  private func idle(_ name: String) -> RowTokenizer {
    var tokenizer = RowTokenizer.bytes()
    tokenizer.identity = { name }
    tokenizer.encode = { text, _ in
      Issue.record("\(text) was tokenized again")
      return []
    }
    return tokenizer
  }

  private func busy(_ name: String) -> RowTokenizer {
    var tokenizer = RowTokenizer.bytes()
    tokenizer.identity = { name }
    return tokenizer
  }

  @Test func sameRowsAreTokenizedOnce() throws {
    let cache = PreparationCache(folder: scratch.folder.path, minimumRows: 1)
    let rows = InMemoryRows((0..<50).map { Row([("prompt", .string("問 \($0)")), ("completion", "答")]) })
    var options = PreparationOptions()
    (options.packing, options.maxLength) = (.bfd, 40)
    let made = try Preparation(busy("t"), options: options, cache: cache).prepare(rows)
    #expect(try files.count == 1)
    options.threads = 3
    let found = try Preparation(idle("t"), options: options, cache: cache).prepare(rows)
    #expect(found.set.ids == made.set.ids)
    #expect(found.set.labels == made.set.labels)
    #expect(found.set.rows == made.set.rows)
    #expect(found.set.documentStarts == made.set.documentStarts)
    #expect(found.set.items == made.set.items)
    #expect(found.report == made.report)

    // Any difference makes another key.
    _ = try Preparation(busy("u"), options: options, cache: cache).prepare(rows)
    options.maxLength = 41
    _ = try Preparation(busy("t"), options: options, cache: cache).prepare(rows)
    let fewer = try rows.applying([.select(0..<49)])
    _ = try Preparation(busy("t"), options: options, cache: cache).prepare(fewer)
    #expect(try files.count == 4)
  }

  /// The key depends on the bytes of the data file, not on its name, size and dates, and on every step.
  @Test func keysDependOnDataAndSteps() throws {
    let cache = PreparationCache(folder: scratch.folder.path + "/cache", minimumRows: 1)
    func prepare(_ steps: [RowStep] = []) throws -> PreparationReport {
      let rows = try DataFile.open(scratch.folder.path + "/rows.jsonl").applying(steps)
      return try Preparation(busy("t"), cache: cache).prepare(rows).report
    }
    let path = try scratch.write("rows.jsonl", "{\"text\": \"abc\"}\n{\"text\": \"d\"}\n")
    let date = try FileManager.default.attributesOfItem(atPath: path)[.modificationDate]
    #expect(try !prepare().isFromCache)
    #expect(try prepare().isFromCache)
    _ = try scratch.write("rows.jsonl", "{\"text\": \"abx\"}\n{\"text\": \"d\"}\n")
    try FileManager.default.setAttributes([.modificationDate: date as Any], ofItemAtPath: path)
    #expect(try !prepare().isFromCache)
    let pattern = try TextPattern("{text}!")
    let steps: [[RowStep]] = [
      [.shuffle(seed: 2)], [.shuffle(seed: 2), .select(0..<1)], [.template(column: "text", pattern)],
      [.template(column: "text", try TextPattern("{text}?"))], [.filter(column: "text", equals: "d")],
    ]
    for steps in steps { #expect(try !prepare(steps).isFromCache, "\(steps)") }
    for steps in steps { #expect(try prepare(steps).isFromCache, "\(steps)") }
  }

  /// A set whose tokens are in a file behaves like one in memory.
  @Test func tokensInFile() throws {
    let rows = InMemoryRows(
      (0..<3000).map { Row([("prompt", .string("問 \($0)")), ("completion", .string("\($0 % 7)"))]) })
    for packing in [nil, PackingStrategy.bfd, .bfdSplit, .wrapped] {
      var options = PreparationOptions()
      (options.packing, options.maxLength, options.shuffleSeed) = (packing, 24, 5)
      let inMemory = try Preparation(busy("t"), options: options).prepare(rows)
      let cache = PreparationCache(folder: scratch.folder.path)
      var done: [Int] = []
      let inFile = try Preparation(busy("t"), options: options, cache: cache).prepare(rows) { done.append($0) }
      #expect(done == [2048, 3000])
      #expect(inFile.report == inMemory.report)
      #expect(inFile.set.ids == inMemory.set.ids && inFile.set.labels == inMemory.set.labels)
      for item in inMemory.set.items.indices.prefix(200) {
        #expect(inFile.set.batch([item]) == inMemory.set.batch([item]))
      }
      let trained = inMemory.set.items.indices.reduce(0) { $0 + inMemory.set.batch([$1]).targetCount }
      #expect(inMemory.report.trainedTokens == trained)
    }
  }

  @Test func smallSetsAreNotCached() throws {
    _ = try Preparation(busy("t"), cache: PreparationCache(folder: scratch.folder.path))
      .prepare(InMemoryRows([Row([("text", "abc")])]))
    #expect(try files.isEmpty)
  }

  @Test func standardLocation() {
    #expect(PreparationCache.standard(environment: ["SWIFTLET_CACHE": ""]) == nil)
    let places = [["SWIFTLET_CACHE": "/c"], ["XDG_CACHE_HOME": "/x", "HOME": "/h"], ["HOME": "/h"]]
    #expect(
      places.compactMap { PreparationCache.standard(environment: $0)?.folder.path }
        == ["/c/prepared", "/x/swiftlet/prepared", "/h/.cache/swiftlet/prepared"])
  }

  @Test func damagedFilesAreRebuilt() throws {
    let cache = PreparationCache(folder: scratch.folder.path, minimumRows: 1)
    let rows = InMemoryRows([Row([("text", "abc")])])
    let ids = Array(try Preparation(busy("t"), cache: cache).prepare(rows).set.ids)
    let file = try #require(try files.first)
    let whole = try Data(contentsOf: file)
    for place in stride(from: 0, to: whole.count, by: 17) {
      var damaged = whole
      damaged[place] ^= 0x41
      try damaged.write(to: file)
      let again = try Preparation(busy("t"), cache: cache).prepare(rows)
      #expect(Array(again.set.ids) == ids)
      #expect(try Data(contentsOf: file) == whole)
    }
    try whole.prefix(40).write(to: file)
    #expect(try Preparation(busy("t"), cache: cache).prepare(rows).set.ids.elementsEqual(ids))
    // If nothing can be written, the rows are prepared in memory and the report says so.
    let nowhere = PreparationCache(folder: file.path + "/x", minimumRows: 1)
    let without = try Preparation(busy("t"), cache: nowhere).prepare(rows)
    #expect(Array(without.set.ids) == ids)
    #expect(without.report.notes.first?.hasPrefix("the prepared rows could not be cached for the next run: ") == true)
  }

  @Test func fingerprint() throws {
    var hash = ContentHash()
    #expect(hash.hexadecimal == "00000000000000000000000000000000")
    // A published value of MurmurHash3_x64_128, hashed in pieces.
    for piece in ["The quick brown fox ", "jumps over", " the lazy dog"] { hash.update(Array(piece.utf8)) }
    #expect(hash.hexadecimal == "e34bbc7bbc071b6c7a433ca9c49a9347")
  }

  @Test func tokenizersHaveFingerprints() throws {
    let plain = try RowTokenizer(Tokenizer(directory: Goldens.folder.appendingPathComponent("tokenizer")))
    let again = try RowTokenizer(Tokenizer(directory: Goldens.folder.appendingPathComponent("tokenizer")))
    let other = try RowTokenizer(Tokenizer(directory: Goldens.folder.appendingPathComponent("tokenizer_bos")))
    #expect(plain.identity?() == again.identity?())
    #expect(plain.identity?() != other.identity?())
  }
}
