import Diagnostics
import Foundation
import Testing
import Tokenizers

/// The contents of the files next to `tokenizer.json`.
@Suite struct LoadingTests {
  static let plain = #"""
    {"added_tokens":[{"id":3,"content":"<s>","special":true},{"id":4,"content":"<x>","special":false,"normalized":false}],
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}
    """#

  @Test func reportsAFolderWithoutATokenizer() throws {
    let error = try #require(throws: SwiftletError.self) {
      try Tokenizer(directory: URL(fileURLWithPath: "/nonexistent"))
    }
    #expect(error.description.contains("/nonexistent") && error.description.contains("tokenizer.json"))
  }

  @Test func readsSpecialTokensFromTheConfigurationOrTheMap() throws {
    let folder = try TemporaryFolder()
    try folder.write(Self.plain, to: "tokenizer.json")
    try folder.write(
      #"{"bos_token":{"content":"<s>","lstrip":false},"eos_token":"nowhere","added_tokens_decoder":"#
        + #"{"7":{"content":"<new>","special":true}},"additional_special_tokens":["<x>"],"pad_token":"<new>","add_bos_token":true}"#,
      to: "tokenizer_config.json")
    // A configuration with `added_tokens_decoder` is complete: the map does not count.
    try folder.write(#"{"eos_token":"<s>","unk_token":"<new>"}"#, to: "special_tokens_map.json")
    let tokenizer = try Tokenizer(directory: folder.url)
    #expect(tokenizer.specialTokens.bos == .init(text: "<s>", id: 3))
    #expect(tokenizer.specialTokens.eos == nil && tokenizer.specialTokens.unk == nil)
    #expect(tokenizer.specialTokens.pad?.id == 7 && tokenizer.specialTokens.ids == [3, 4, 7])
    #expect(tokenizer.vocabularySize == 8)
    #expect(tokenizer.encode("a<new>b<x>") == [3, 0, 7, 1, 4])
    #expect(tokenizer.encode("ab", addSpecialTokens: false) == [2])
    #expect(tokenizer.decode([3, 0, 7, 1], skipSpecialTokens: true) == "a b")
  }

  /// What `special_tokens_map` is in transformers 5.23 with the same files; it is what chat templates see.
  @Test(arguments: [
    (
      #"{"sep_token":"a","cls_token":{"__type":"AddedToken","content":"b"}}"#, "", ["sep_token": "a", "cls_token": "b"]
    ),
    (
      #"{"image_token":"a","boi_token":{"__type":"AddedToken","content":"b"},"add_bos_token":true}"#, "",
      ["image_token": "a", "boi_token": "b"]
    ),
    (#"{"extra_special_tokens":{"image_token":"a","eoc_token":"b"}}"#, "", ["image_token": "a", "eoc_token": "b"]),
    (#"{"extra_special_tokens":["a"],"additional_special_tokens":["b"]}"#, "", [:]),
    (
      "{}", #"{"bos_token":"<s>","mask_token":{"content":"a"},"image_token":"b","additional_special_tokens":["ab"]}"#,
      ["bos_token": "<s>", "mask_token": "a", "image_token": "b"]
    ),
    (#"{"bos_token":"a","pad_token":"b"}"#, #"{"bos_token":"ab"}"#, ["bos_token": "ab", "pad_token": "b"]),
    (#"{"bos_token":"a","added_tokens_decoder":{}}"#, #"{"bos_token":"b","sep_token":"b"}"#, ["bos_token": "a"]),
    (#"{"bos_token":null}"#, #"{"bos_token":"b"}"#, ["bos_token": "b"]),
    (#"{"bos_token":"<nowhere>","pad_token":"a"}"#, "", ["bos_token": "<nowhere>", "pad_token": "a"]),
  ])
  func namesSpecialTokensAsTransformersDoes(config: String, map: String, expected: [String: String]) throws {
    let folder = try TemporaryFolder()
    try folder.write(Self.plain, to: "tokenizer.json")
    try folder.write(config, to: "tokenizer_config.json")
    if !map.isEmpty { try folder.write(map, to: "special_tokens_map.json") }
    let special = try Tokenizer(directory: folder.url).specialTokens
    #expect(special.named == expected)
    #expect(special.bos?.text == expected["bos_token"].flatMap { $0 == "<nowhere>" ? nil : $0 })
  }

  @Test func readsChatTemplatesFromAllFiles() throws {
    let folder = try TemporaryFolder()
    try folder.write(Self.plain, to: "tokenizer.json")
    #expect(try Tokenizer(directory: folder.url).chatTemplateSource == nil)
    try folder.write(#"{"chat_template":"one"}"#, to: "tokenizer_config.json")
    #expect(try Tokenizer(directory: folder.url).chatTemplateSource == "one")
    try folder.write(
      #"{"chat_template":[{"name":"default","template":"two"},{"name":"tool_use","template":"三"}]}"#,
      to: "tokenizer_config.json")
    let named = try Tokenizer(directory: folder.url)
    #expect(named.chatTemplateSource == "two" && named.chatTemplateSources == ["default": "two", "tool_use": "三"])
    try folder.write("four\n", to: "chat_template.jinja")
    let more = folder.url.appendingPathComponent("additional_chat_templates")
    try FileManager.default.createDirectory(at: more, withIntermediateDirectories: true)
    try Data("five".utf8).write(to: more.appendingPathComponent("rag.jinja"))
    let all = try Tokenizer(directory: folder.url)
    #expect(all.chatTemplateSources == ["default": "four\n", "tool_use": "三", "rag": "five"])
    let copy = folder.url.appendingPathComponent("copy")
    try all.write(to: copy)
    #expect(try Tokenizer(directory: copy).chatTemplateSources == all.chatTemplateSources)
    #expect(try Data(contentsOf: copy.appendingPathComponent("tokenizer.json")) == Data(Self.plain.utf8))
  }

  @Test func reportsAFolderThatCannotBeWritten() throws {
    let folder = try TemporaryFolder()
    try folder.write(Self.plain, to: "tokenizer.json")
    let tokenizer = try Tokenizer(directory: folder.url)
    let error = try #require(throws: SwiftletError.self) {
      try tokenizer.write(to: folder.url.appendingPathComponent("tokenizer.json/below"))
    }
    #expect(error.description.contains("tokenizer.json"))
  }

  /// The vocabulary scanner and the JSON parser agree, also on escapes.
  @Test func readsEscapesInVocabularies() throws {
    let folder = try TemporaryFolder()
    try folder.write(
      #"""
      { "version" : "1.0", "model" : { "type":"BPE", "vocab" : { "\"":0, "\\" : 1,"\"\\":2, "\u4e2d":3, "\ud83d\ude00":4, "/":5,
        "\n":6 } , "merges" : [ [ "\"" , "\\" ] ] }, "truncation": [1, {"x": "}"}] }
      """#, to: "tokenizer.json")
    let tokenizer = try Tokenizer(directory: folder.url)
    #expect(tokenizer.encode("\"\\中😀/\n") == [2, 3, 4, 5, 6])
  }
}
