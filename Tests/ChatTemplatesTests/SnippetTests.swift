import Diagnostics
import ChatTemplates
import Foundation
import OrderedJSON
import Testing

@Suite("Expressions and tags match Jinja2")
struct SnippetTests {
  /// Errors whose text comes from Jinja2 or the template, so that ours must be equal.
  private static let wordedByJinja = ["SwiftletError", "UndefinedError", "SecurityError", "TemplateRuntimeError"]

  /// The difference; `nil` if there is none.
  private func difference(_ snippet: String, _ context: JSONValue, _ expected: JSONValue) -> String? {
    let rendering = Result { () throws(SwiftletError) in
      try ChatTemplate(snippet).render(
        messages: Message.list(context["messages"] ?? []), variables: context["variables"]?.object ?? JSONObject(),
        now: Goldens.now)
    }
    if let difference = Goldens.difference(rendering, expected) { return difference }
    guard case .failure(let error) = rendering, let message = expected["error"]?.string else { return nil }
    let kind = message.prefix { $0 != ":" }
    if Self.wordedByJinja.contains(String(kind)), !message.hasSuffix(": " + error.reason) {
      return "\(error.reason.debugDescription), expected \(message.debugDescription)"
    }
    if kind != "SyntaxError", let line = expected["line"]?.integer, error.location.line != line {
      return "line \(error.location.line ?? 0), expected \(line): \(message)"
    }
    return nil
  }

  @Test("Snippets") func snippets() throws {
    let context = try Goldens.json(Goldens.folder.appending(path: "snippets.json"))
    let snippets = try #require(context["snippets"]?.array)
    let goldens = try #require(try Goldens.json(Goldens.folder.appending(path: "snippet_goldens.json")).array)
    #expect(snippets.count == goldens.count && snippets.count > 300)
    for (snippet, golden) in zip(snippets, goldens) {
      let source = try #require(snippet.string)
      let difference = difference(source, context, golden)
      #expect(difference == nil, "\(source.debugDescription): \(difference ?? "")")
    }
  }

  @Test("Mutated snippets do not crash the parser or the interpreter") func cuts() throws {
    let context = try Goldens.json(Goldens.folder.appending(path: "snippets.json"))
    var rendered = 0
    for snippet in try #require(context["snippets"]?.array) {
      let scalars = Array(try #require(snippet.string).unicodeScalars)
      for cut in stride(from: 1, to: scalars.count, by: max(scalars.count / 12, 1)) {
        // Removes a chunk, truncates, and swaps two halves.
        let texts = [
          scalars[..<cut] + scalars[min(cut + 3, scalars.count)...], scalars[..<cut], scalars[cut...] + scalars[..<cut],
        ]
        for text in texts {
          var limits = Limits()
          limits.work = 200_000
          let template = try? ChatTemplate(String(String.UnicodeScalarView(text)), limits: limits)
          let rendering = try? template?.render(
            messages: Message.list(context["messages"] ?? []), variables: context["variables"]?.object ?? JSONObject())
          if rendering != nil { rendered += 1 }
        }
      }
    }
    #expect(rendered > 100)
  }
}
