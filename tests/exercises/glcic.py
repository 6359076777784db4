"""Starters and solutions of the exercises of the GLCIC chapter."""

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "glcic-receptive-field": (
        """
        def answer(convs):
            field = 1
            for kernel, stride, dilation in convs:
                field += kernel - 1
            return field
        """, """
        def answer(convs):
            field, reach = 1, 1
            for kernel, stride, dilation in convs:
                field += (kernel - 1) * dilation * reach
                reach *= stride
            return field
        """),
    "glcic-composite": (
        """
        def answer(pred, image, mask):
            return pred
        """, """
        import torch
        def answer(pred, image, mask):
            return torch.where(mask > 0.5, pred, image)
        """),
    "glcic-local-box": (
        """
        def answer(mask, crop):
            return 0, 0, crop, crop
        """, """
        def answer(mask, crop):
            rows, cols = mask.nonzero().T
            box = []
            for line, side in ((cols, mask.shape[1]), (rows, mask.shape[0])):
                middle = (line.min() + line.max() + 1) / 2
                box.append(int((middle - crop / 2).clamp(0, side - crop)))
            return *box, crop, crop
        """),
    "glcic-local-gradient": (
        """
        import torch
        def answer(completed, boxes):
            crops = [c.detach()[:, y:y + h, x:x + w] for c, (x, y, w, h) in zip(completed, boxes.tolist())]
            return torch.stack(crops)
        """, """
        import torch
        def answer(completed, boxes):
            crops = [c[:, y:y + h, x:x + w] for c, (x, y, w, h) in zip(completed, boxes.tolist())]
            return torch.stack(crops)
        """),
    "glcic-dilation": ("answer = (..., ...)", "answer = (256 * 256 * 3 * 3 + 256, 33)"),
}
