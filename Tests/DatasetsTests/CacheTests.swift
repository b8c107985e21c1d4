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

  /// A tokenizer that fails the test when it is asked to work.
  private func idle(_ name: String) -> RowTokenizer {
    var tokenizer = RowTokenizer.bytes()
    tokenizer.identity = { name }
    tokenizer.encode = { text, _ in
      Issue.record("\(text) is tokenized again")
      return []
    }
    return tokenizer
  }

  private func busy(_ name: String) -> RowTokenizer {
    var tokenizer = RowTokenizer.bytes()
    tokenizer.identity = { name }
    return tokenizer
  }

  @Test func sameRowsAreNotTokenizedTwice() throws {
    let cache = PreparationCache(folder: scratch.folder.path)
    let rows = MemoryRows((0..<50).map { Row([("prompt", .string("問 \($0)")), ("completion", "答")]) })
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

    // Anything else is another set.
    _ = try Preparation(busy("u"), options: options, cache: cache).prepare(rows)
    options.maxLength = 41
    _ = try Preparation(busy("t"), options: options, cache: cache).prepare(rows)
    let fewer = try rows.applying([.select(0..<49)])
    _ = try Preparation(busy("t"), options: options, cache: cache).prepare(fewer)
    #expect(try files.count == 4)
  }

  @Test func damagedFilesAreMadeAgain() throws {
    let cache = PreparationCache(folder: scratch.folder.path)
    let rows = MemoryRows([Row([("text", "abc")])])
    let made = try Preparation(busy("t"), cache: cache).prepare(rows)
    let file = try #require(try files.first)
    let whole = try Data(contentsOf: file)
    for place in stride(from: 0, to: whole.count, by: 17) {
      var damaged = whole
      damaged[place] ^= 0x41
      try damaged.write(to: file)
      let again = try Preparation(busy("t"), cache: cache).prepare(rows)
      #expect(again.set.ids == made.set.ids)
      #expect(try Data(contentsOf: file) == whole)
    }
    try whole.prefix(40).write(to: file)
    #expect(try Preparation(busy("t"), cache: cache).prepare(rows).set.ids == made.set.ids)
    // Where nothing can be written, the run goes on without.
    _ = try Preparation(busy("t"), cache: PreparationCache(folder: file.path + "/x")).prepare(rows)
  }

  @Test func fingerprint() throws {
    var hash = ContentHash()
    #expect(hash.hexadecimal == "00000000000000000000000000000000")
    // A published value of MurmurHash3_x64_128, fed in pieces.
    for piece in ["The quick brown fox ", "jumps over", " the lazy dog"] { hash.update(piece.utf8) }
    #expect(hash.hexadecimal == "e34bbc7bbc071b6c7a433ca9c49a9347")
  }

  @Test func tokenizersHaveIdentities() throws {
    let plain = try RowTokenizer(Tokenizer(directory: Goldens.folder.appendingPathComponent("tokenizer")))
    let again = try RowTokenizer(Tokenizer(directory: Goldens.folder.appendingPathComponent("tokenizer")))
    let other = try RowTokenizer(Tokenizer(directory: Goldens.folder.appendingPathComponent("tokenizer_bos")))
    #expect(plain.identity?() == again.identity?())
    #expect(plain.identity?() != other.identity?())
  }
}
