/// The templates of recognized families, and their training templates.
extension RecognizedFamily {
  /// ChatML as in SmolLM2. `system` is the system message of conversations that have none.
  static func chatML(system: String?) -> String {
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

  static func qwen25(system: String) -> String {
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
  static func qwen3(readsOnlyText: Bool, keepsReasoning: Bool) -> String {
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

  static let llama3 = """
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
  static func phi3(keepsEmptySystem: Bool) -> String {
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
