"""Photographs: a hole filled, a face enlarged, a face edited; each finds the face, aligns it, and writes the result back."""

from facelib.photo.completing import CENTRE, check_search, complete_file, complete_folder, complete_photo, recovery
from facelib.photo.editing import EDITED, check_edit, edit_file, edit_folder, edit_photo, edit_strip
from facelib.photo.enlarging import INVENTED, Upscaled, check_upscale, upscale_file, upscale_folder, upscale_photo

__all__ = ["CENTRE", "EDITED", "INVENTED", "Upscaled", "check_edit", "check_search", "check_upscale", "complete_file",
           "complete_folder", "complete_photo", "edit_file", "edit_folder", "edit_photo", "edit_strip", "recovery",
           "upscale_file", "upscale_folder", "upscale_photo"]
