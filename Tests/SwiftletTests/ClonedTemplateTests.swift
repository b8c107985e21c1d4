import Diagnostics
import Foundation
import Models
import OrderedJSON
import Recipes
import TestSupport
import Testing
import Tokenizers

/// What a model folder in `chat_template_path` brings along, against TRL's `clone_chat_template`: see
/// Tests/Goldens/generators/added_tokens.py.
@Suite struct ClonedTemplateTests {
  private static let source = TinyModel.folder.appendingPathComponent("added_tokens/source").path

  private static func recipe(_ words: String...) throws -> Recipe {
    try Recipe(commandLine: ["--chat_template_path", source] + words)
  }

  private static func tokenizer() throws -> Tokenizer {
    try Tokenizer(directory: TinyModel.folder.appendingPathComponent("models/tokenizer"))
  }

  @Test func tokensAndEOSTokenAreTRLs() throws {
    let tokenizer = try Self.tokenizer()
    let tokens = try Self.recipe().tokens(of: tokenizer)
    let reference = try golden("added_tokens/cloned.json")
    let expected = try #require(reference["added"]?.array)
    #expect(tokens.added.map(\.text) == expected.compactMap { $0["content"]?.string })
    let (extended, newIDs) = try tokenizer.adding(tokens.added)
    #expect(newIDs.map(Int.init) == expected.compactMap { $0["id"]?.integer })
    for token in expected {
      let id = try #require(token["id"]?.integer.map(Int32.init))
      #expect(extended.specialTokens.ids.contains(id) == token["special"]?.bool, "\(token)")
    }
    #expect(tokens.training.eosToken == reference["eos_token"]?.string && tokens.areCloned)
    #expect(try tokens.template == Tokenizer(directory: URL(fileURLWithPath: Self.source)).chatTemplateSource)
    // Once there, they are not added again.
    #expect(try Self.recipe().tokens(of: extended).added.isEmpty)
  }

  @Test func tokensOfTheRecipeComeFirst() throws {
    let tokens = try Self.recipe("--add_tokens", "<mine>", "<note>").tokens(of: Self.tokenizer()).added
    #expect(tokens.prefix(5).map(\.text) == ["<mine>", "<note>", "<|tool|>", "<extra_id_1>", "<extra_id_0>"])
    #expect(tokens.count == 64)
  }

  @Test func aFileBringsATemplateOnly() throws {
    let file = TinyModel.folder.appendingPathComponent("method_runs/data/template.jinja")
    let tokens = try Recipe(commandLine: ["--chat_template_path", file.path]).tokens(of: Self.tokenizer())
    #expect(try tokens.template == String(contentsOf: file, encoding: .utf8))
    #expect(tokens.added.isEmpty && !tokens.areCloned && tokens.training.eosToken == nil)
    let none = try Recipe(commandLine: []).tokens(of: Self.tokenizer())
    #expect(none.template == nil && none.added.isEmpty)
  }

  @Test func anotherEOSTokenIsAContradiction() throws {
    #expect(try Self.recipe("--eos_token", "<|tool|>").tokens(of: Self.tokenizer()).training.eosToken == "<|tool|>")
    let error = #expect(throws: SwiftletError.self) {
      try Self.recipe("--eos_token", "<|im_end|>").tokens(of: Self.tokenizer())
    }
    #expect(error?.inRecipeTerms.reason.contains("leave out eos_token") == true, "\(String(describing: error))")
  }

  /// As TRL's trainer sets up the adapter.
  @Test func theHeadIsTrainedWholeUnlessItIsTheEmbedding() throws {
    func modules(_ base: String, _ recipe: Recipe, source: Bool = true) throws -> [String]? {
      let files = try ModelFiles(opening: TinyModel.folder.appendingPathComponent("models/\(base)"))
      return try recipe.taking(recipe.tokens(of: Self.tokenizer()), of: files).lora?.modulesToSave
    }
    let adapter = ["--use_peft", "--lora_modules_to_save"]
    #expect(try modules("llama", Self.recipe("--use_peft")) == ["lm_head"])
    #expect(try modules("llama", Self.recipe(adapter[0], adapter[1], "lm_head")) == ["lm_head"])
    #expect(try modules("llama", Self.recipe()) == nil)
    #expect(try modules("llama_tied", Self.recipe("--use_peft")) == [])
    let classifier = try Recipe(
      commandLine: ["--chat_template_path", Self.source, "--use_peft"], method: .classify)
    #expect(try modules("llama", classifier) == [])
    // Nothing is lacking.
    let own = TinyModel.folder.appendingPathComponent("models/tokenizer").path
    #expect(try modules("llama", Recipe(commandLine: ["--chat_template_path", own, "--use_peft"])) == [])
  }
}
