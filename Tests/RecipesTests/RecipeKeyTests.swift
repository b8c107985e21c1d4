import Recipes
import Reports
import TestSupport
import Training
import Foundation
import OrderedJSON
import Testing

/// The keys of TRL 1.16 and 0.23, with their defaults, against ours.
@Suite struct RecipeKeyTests {
  /// If PEFT's or bitsandbytes' own default differs from TRL's for the same setting, TRL's applies. Which layers are
  /// checkpointed depends on the available memory.
  static let overruled = [
    "r", "lora_alpha", "lora_dropout", "bnb_4bit_quant_type", "output_dir", "gradient_checkpointing",
  ]

  static func theirs(_ file: String) throws -> [(name: String, value: JSONValue)] {
    try golden(file).object?.members.flatMap { $0.value.object?.members ?? [] }.map { ($0.key, $0.value) } ?? []
  }

  @Test func namesAreUnique() {
    let names = RecipeKey.all.map(\.name) + RecipeSpelling.all.map(\.name)
    #expect(Set(names).count == names.count)
    let known = Set(RecipeKey.all.map(\.name))
    #expect(RecipeSpelling.all.filter { !known.contains($0.key) }.map(\.key) == [])
  }

  @Test(arguments: ["recipe/keys.json", "recipe/keys_old.json"])
  func everyReferenceKeyIsKnown(file: String) throws {
    let names = try Self.theirs(file).map(\.name)
    #expect(names.count > 200)
    let known = Set(RecipeKey.all.map(\.name) + RecipeSpelling.all.map(\.name))
    #expect(names.filter { !known.contains($0) && !$0.hasPrefix("_") } == [])
  }

  @Test func defaultsEqualTheReferences() throws {
    let ours = Dictionary(uniqueKeysWithValues: RecipeKey.all.map { ($0.name, $0) })
    var compared = 0
    for (name, value) in try Self.theirs("recipe/keys.json") where !Self.overruled.contains(name) {
      guard let key = ours[name], key.status == .honored else { continue }
      compared += 1
      // The reference's default is null if the type is an optional list or mapping.
      let isEmpty = value.isNull && (key.defaultValue == [] || key.defaultValue == [:] || key.defaultValue == "")
      let isOff = value.isNull && key.defaultValue == false
      #expect(key.defaultValue == value || isEmpty || isOff, "\(name)")
    }
    #expect(compared > 70)
  }

  @Test(arguments: ["recipe/keys.json", "recipe/keys_old.json"])
  func referenceDefaultsAreAccepted(file: String) throws {
    for (name, value) in try Self.theirs(file) where !name.hasPrefix("_") && !value.isNull {
      if RecipeSpelling.all.contains(where: { $0.name == name && $0.kind == .foreign }) { continue }
      let text = "\(name): \(value.text())\n" + (name == "use_peft" ? "" : "use_peft: true\n")
      #expect(throws: Never.self, "\(text)") { try Recipe(yaml: text) }
    }
  }

  @Test func committedPageIsTheTable() throws {
    let page = repository.appendingPathComponent("Documentation/RecipeKeys.md")
    if ProcessInfo.processInfo.environment["WRITE_RECIPE_KEYS"] != nil {
      try RecipeKey.documentationPage.write(to: page, atomically: true, encoding: .utf8)
    }
    let committed = try String(contentsOf: page, encoding: .utf8)
    #expect(
      committed == RecipeKey.documentationPage, "write it with WRITE_RECIPE_KEYS=1 swift test --filter committedPage")
  }
}
