import OrderedJSON

/// A model family that is recognized by what its template renders, not by the template's text.
///
/// Covers templates that were reformatted or rewritten, and ChatML (SmolLM2 and many others), for which TRL has no
/// training template.
struct RecognizedFamily: Sendable {
  let name: String
  /// A template with the behavior of the family's original.
  let template: String
  /// The template with `{% generation %}` blocks to train with: the content, reasoning and tool calls of each assistant
  /// turn and its end-of-turn token, but not the turn's header.
  let trainingTemplate: String
  let keepsReasoning: Bool

  private init(_ name: String, _ template: String, training: String? = nil) {
    self.name = name
    self.template = template
    trainingTemplate = training ?? template
    keepsReasoning = training != nil
  }

  /// The family whose template renders a number of test conversations exactly as `template` does.
  static func matching(_ template: ChatTemplate) -> RecognizedFamily? {
    let expected = probes.map { $0.text(of: template) }
    return all.first { candidate in
      guard let own = try? ChatTemplate(candidate.template) else { return false }
      return zip(probes, expected).allSatisfy { probe, text in
        // Conversations that the original rejects are not compared.
        text.map { $0 == probe.text(of: own) } ?? !probe.mustRender
      }
    }
  }

  /// A conversation that tells families apart.
  private struct Probe {
    let messages: JSONValue
    var tools: JSONValue?
    var addGenerationPrompt = false
    var mustRender = false

    /// The rendered text in bytes; `nil` if the template rejects the conversation.
    func text(of template: ChatTemplate) -> [UInt8]? {
      let variables: JSONObject = ["bos_token": "<bos>", "eos_token": "<eos>"]
      guard let messages = try? Message.list(messages) else { return nil }
      let rendering = try? template.render(
        messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt, variables: variables)
      return rendering.map { Array($0.text.utf8) }
    }
  }

  private static let probes: [Probe] = [
    Probe(messages: [["role": "user", "content": "a"]], addGenerationPrompt: true, mustRender: true),
    Probe(
      messages: [
        ["role": "system", "content": " s\n"], ["role": "user", "content": " u "],
        ["role": "assistant", "content": "\n x \n"], ["role": "user", "content": ""],
        ["role": "assistant", "content": "y"],
      ], mustRender: true),
    Probe(
      messages: [
        ["role": "user", "content": "u"], ["role": "assistant", "content": "<think>\nr\n</think>\n\nx"],
        ["role": "user", "content": "v"], ["role": "assistant", "content": "y", "reasoning_content": "r\n"],
      ], mustRender: true),
    Probe(messages: [["role": "system", "content": ""], ["role": "user", "content": "u"]]),
    Probe(
      messages: [["role": "user", "content": "u"], ["role": "system", "content": "s"]], addGenerationPrompt: true),
    Probe(
      messages: [
        ["role": "system", "content": "s"], ["role": "user", "content": "u"],
        [
          "role": "assistant", "content": "c",
          "tool_calls": [
            ["type": "function", "function": ["name": "f", "arguments": ["k": 1]]],
            ["type": "function", "function": ["name": "g", "arguments": [:]]],
          ],
        ],
        ["role": "tool", "content": "1"], ["role": "tool", "content": "2"], ["role": "assistant", "content": "x"],
      ], tools: [["type": "function", "function": ["name": "f", "description": "<d>"]]]),
    Probe(
      messages: [
        ["role": "user", "content": "u"],
        ["role": "assistant", "content": "", "tool_calls": [["name": "f", "arguments": "{}"]]],
        ["role": "tool", "content": "1"],
      ], tools: [["name": "f"]], addGenerationPrompt: true),
    Probe(
      messages: [
        ["role": "user", "content": "u"], ["role": "assistant", "content": "<think>r</think>x"],
      ]),
    Probe(messages: [["role": "user", "content": "u"], ["role": "tool", "content": ["k": 1]]]),
  ]

  private static let all: [RecognizedFamily] =
    [
      nil, "You are a helpful AI assistant named SmolLM, trained by Hugging Face", "You are a helpful assistant",
      "You are a helpful assistant.", "You are a helpful AI assistant.",
    ].map { RecognizedFamily("ChatML", chatML(system: $0)) }
    + [
      "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "You are a helpful assistant.",
      "Please reason step by step, and put your final answer within \\\\boxed{}.",
    ].map { RecognizedFamily("Qwen2.5", qwen25(system: $0)) }
    + [true, false].map { readsOnlyText in
      RecognizedFamily(
        "Qwen3", qwen3(readsOnlyText: readsOnlyText, keepsReasoning: false),
        training: qwen3(readsOnlyText: readsOnlyText, keepsReasoning: true))
    }
    + [
      RecognizedFamily("Llama 3", llama3), RecognizedFamily("Phi-3", phi3(keepsEmptySystem: true)),
      RecognizedFamily("Phi-3.5", phi3(keepsEmptySystem: false)),
    ]

  /// ChatML as in SmolLM2. `system` is the system message of conversations that have none.
  private static func chatML(system: String?) -> String {
    let standIn =
      system.map { text in
        """
        {%- if messages and messages[0]['role'] != 'system' %}
            {{- '<|im_start|>system\\n\(text)<|im_end|>\\n' }}
        {%- endif %}

        """
      } ?? ""
    return standIn + """
      {%- for message in messages %}
          {{- '<|im_start|>' + message['role'] + '\\n' }}
          {%- if message['role'] == 'assistant' %}
              {%- generation %}
                  {{- message['content'] + '<|im_end|>\\n' }}
              {%- endgeneration %}
          {%- else %}
              {{- message['content'] + '<|im_end|>\\n' }}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|im_start|>assistant\\n' }}
      {%- endif %}
      """
  }

  /// Macros for the tools and tool results of Qwen2.5 and Qwen3.
  private static let qwenTools = """
    {%- macro tool_list() %}
        {{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with' }}
        {{- ' function signatures within <tools></tools> XML tags:\\n<tools>' }}
        {%- for tool in tools %}
            {{- '\\n' ~ tool | tojson }}
        {%- endfor %}
        {{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within' }}
        {{- ' <tool_call></tool_call> XML tags:\\n<tool_call>\\n' }}
        {{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
    {%- endmacro %}
    {%- macro tool_result(index, content) %}
        {%- if index == 0 or messages[index - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' ~ content ~ '\\n</tool_response>' }}
        {%- if index == messages | length - 1 or messages[index + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endmacro %}

    """

  private static func qwen25(system: String) -> String {
    qwenTools + """
      {%- set own_system = messages[0]['role'] == 'system' %}
      {{- '<|im_start|>system\\n' + (messages[0]['content'] if own_system else '\(system)') }}
      {{- '\\n\\n' + tool_list() if tools else '<|im_end|>\\n' }}
      {%- for message in messages %}
          {%- if message.role == 'user' or message.role == 'system' and not loop.first %}
              {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
          {%- elif message.role == 'assistant' %}
              {{- '<|im_start|>assistant' }}
              {%- generation %}
                  {%- if message.content or not message.tool_calls %}
                      {{- '\\n' + message.content }}
                  {%- endif %}
                  {%- for tool_call in message.tool_calls or [] %}
                      {%- set tool_call = tool_call.function if tool_call.function is defined else tool_call %}
                      {{- '\\n<tool_call>\\n{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
                      {{- tool_call.arguments | tojson }}
                      {{- '}\\n</tool_call>' }}
                  {%- endfor %}
                  {{- '<|im_end|>\\n' }}
              {%- endgeneration %}
          {%- elif message.role == 'tool' %}
              {{- tool_result(loop.index0, message.content) }}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|im_start|>assistant\\n' }}
      {%- endif %}
      """
  }

  /// Qwen3.
  /// - Parameters:
  ///   - readsOnlyText: whether content that is not a string is dropped; earlier revisions print it.
  ///   - keepsReasoning: whether every turn has a `<think>` block, as in training, or only the turns after the last
  ///     question of the user.
  private static func qwen3(readsOnlyText: Bool, keepsReasoning: Bool) -> String {
    let condition = readsOnlyText ? " if message.content is string else ''" : ""
    let thinks = keepsReasoning ? "true" : "at > last.query and (loop.last or reasoning)"
    return qwenTools + """
      {%- set own_system = messages[0].role == 'system' %}
      {%- if tools %}
          {{- '<|im_start|>system\\n' + (messages[0].content + '\\n\\n' if own_system else '') + tool_list() }}
      {%- elif own_system %}
          {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
      {%- endif %}
      {#- The last question of the user, as opposed to tool results. #}
      {%- set last = namespace(query=messages | length - 1, found=false) %}
      {%- for message in messages[::-1] %}
          {%- if not last.found and message.role == 'user' and message.content is string
              and not (message.content.startswith('<tool_response>')
                  and message.content.endswith('</tool_response>')) %}
              {%- set last.found = true %}
              {%- set last.query = loop.revindex0 %}
          {%- endif %}
      {%- endfor %}
      {%- for message in messages %}
          {%- set content = message.content\(condition) %}
          {%- if message.role == 'user' or message.role == 'system' and not loop.first %}
              {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
          {%- elif message.role == 'assistant' %}
              {%- set reasoning = '' %}
              {%- if message.reasoning_content is string %}
                  {%- set reasoning = message.reasoning_content %}
              {%- elif '</think>' in content %}
                  {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                  {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
              {%- endif %}
              {{- '<|im_start|>assistant\\n' }}
              {%- set at = loop.index0 %}
              {%- set thinks = \(thinks) %}
              {%- generation %}
                  {%- if thinks %}
                      {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
                  {%- else %}
                      {{- content }}
                  {%- endif %}
                  {%- for tool_call in message.tool_calls or [] %}
                      {{- '\\n' if content or not loop.first }}
                      {%- set tool_call = tool_call.function or tool_call %}
                      {{- '<tool_call>\\n{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
                      {{- tool_call.arguments if tool_call.arguments is string else tool_call.arguments | tojson }}
                      {{- '}\\n</tool_call>' }}
                  {%- endfor %}
                  {{- '<|im_end|>\\n' }}
              {%- endgeneration %}
          {%- elif message.role == 'tool' %}
              {{- tool_result(loop.index0, content) }}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|im_start|>assistant\\n' }}
          {{- '<think>\\n\\n</think>\\n\\n' if enable_thinking is defined and enable_thinking is false }}
      {%- endif %}
      """
  }

  private static let llama3 = """
    {%- for message in messages %}
        {{- bos_token if loop.first }}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {%- if message['role'] == 'assistant' %}
            {%- generation %}
                {{- message['content'] | trim + '<|eot_id|>' }}
            {%- endgeneration %}
        {%- else %}
            {{- message['content'] | trim + '<|eot_id|>' }}
        {%- endif %}
    {%- endfor %}
    {%- if add_generation_prompt %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
    {%- endif %}
    """

  /// Phi-3, or Phi-3.5, which drops an empty system message.
  private static func phi3(keepsEmptySystem: Bool) -> String {
    let condition = keepsEmptySystem ? "" : " and message['content']"
    return """
      {%- for message in messages %}
          {%- if message['role'] == 'user' or message['role'] == 'system'\(condition) %}
              {{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}
          {%- elif message['role'] == 'assistant' %}
              {{- '<|assistant|>\\n' }}
              {%- generation %}
                  {{- message['content'] + '<|end|>\\n' }}
              {%- endgeneration %}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|assistant|>\\n' }}
      {%- elif messages and messages[-1]['role'] == 'assistant' %}
          {%- generation %}
              {{- eos_token }}
          {%- endgeneration %}
      {%- else %}
          {{- eos_token }}
      {%- endif %}
      """
  }
}
