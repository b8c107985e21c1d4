import Foundation
import Testing

/// A call that must end in one sentence: the command line, the file, and what the sentence must mention.
struct Fault: Sendable, CustomTestStringConvertible {
  let name: String
  let status: Int32
  let words: [String]
  /// Texts that the sentence must contain.
  let mentions: [String]
  let environment: [String: String]
  /// Creates the invalid file or folder.
  let prepare: @Sendable (Workspace) throws -> Void

  /// - Parameter line: the call, its words separated by spaces.
  init(
    _ name: String, status: Int32, _ line: String, mentions: [String], environment: [String: String] = [:],
    prepare: @escaping @Sendable (Workspace) throws -> Void = { _ in }
  ) {
    self.init(
      name, status: status, words: line.split(separator: " ").map(String.init), mentions: mentions,
      environment: environment, prepare: prepare)
  }

  init(
    _ name: String, status: Int32, words: [String], mentions: [String], environment: [String: String] = [:],
    prepare: @escaping @Sendable (Workspace) throws -> Void = { _ in }
  ) {
    self.name = name
    self.status = status
    self.words = words
    self.mentions = mentions
    self.environment = environment
    self.prepare = prepare
  }

  var testDescription: String { name }

  /// Runs the call and expects its exit status and exactly one clear sentence.
  func check() async throws {
    let workspace = try Workspace()
    try prepare(workspace)
    let outcome = try await Command.run(words, in: workspace, environment: environment)
    #expect(!outcome.wasKilled, "ended by signal \(outcome.status)")
    #expect(outcome.status == status, "\(outcome.errors)")
    #expect(outcome.output == "", "a call that fails has no result")
    for sign in ["Fatal error", "runtime failure", "Backtracing", "Error Domain", "Optional("] {
      #expect(!outcome.errors.contains(sign))
    }
    let lines = outcome.errors.split(separator: "\n").map(String.init)
    let sentences = lines.filter { $0.hasPrefix("Error: ") }
    #expect(sentences.count == 1, "\(outcome.errors)")
    guard let sentence = sentences.first, let index = lines.firstIndex(of: sentence) else { return }
    // Only the argument parser's usage hint may follow the sentence.
    let rest = lines[(index + 1)...]
    #expect(
      rest.allSatisfy { status == 2 && ($0.hasPrefix("Usage: ") || $0.hasPrefix("Help: ") || $0.hasPrefix("  ")) })
    for mention in mentions { #expect(sentence.contains(mention)) }
  }
}
