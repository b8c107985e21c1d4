import Swiftlet

/// Two chats that stream at the same time from one model.
enum TwoChats {
  static func run(_ setup: Setup) async throws {
    let model = try await LanguageModel(setup.model)
    let questions = ["Name three colors.", "What do cats eat?"]
    let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
      for (number, question) in questions.enumerated() {
        group.addTask {
          let chat = ChatSession(model, maxNewTokens: 24)
          var answer = ""
          for try await text in chat.stream(question) {
            answer += text
            write("[\(number + 1)]\(text)")
          }
          // The second turn reads only its own tokens; the rest is in the KV cache.
          _ = try await chat.respond(to: "Thank you.")
          return (number, answer)
        }
      }
      var answers = [String](repeating: "", count: questions.count)
      for try await (number, answer) in group { answers[number] = answer }
      return answers
    }
    for (question, answer) in zip(questions, answers) { print("\n\(question)\n  \(answer)") }
  }
}
